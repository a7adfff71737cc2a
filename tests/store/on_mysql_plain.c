/* The store conformance suite on mysql-plain. */
#include "suite.h"

const char *const suite_engine = "mysql-plain";
