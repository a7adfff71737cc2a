/* The store conformance suite on sqlite. */
#include "suite.h"

const char *const suite_engine = "sqlite";
