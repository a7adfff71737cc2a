# tests/fuzz: see tests/local.mk for the variables
