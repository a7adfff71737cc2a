/* The store conformance suite on postgres. */
#include "suite.h"

const char *const suite_engine = "postgres";
