/* The store conformance suite on mysql. */
#include "suite.h"

const char *const suite_engine = "mysql";
