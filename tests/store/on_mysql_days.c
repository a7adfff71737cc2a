/* The store conformance suite on mysql partitioned. */
#include "suite.h"

const char *const suite_engine = "mysql-partitioned";
