/* The store conformance suite on mysql plain partitioned. */
#include "suite.h"

const char *const suite_engine = "mysql-plain-partitioned";
