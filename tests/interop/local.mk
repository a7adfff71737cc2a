# tests/interop: see tests/local.mk for the variables
