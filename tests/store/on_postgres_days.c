/* The store conformance suite on postgres partitioned. */
#include "suite.h"

const char *const suite_engine = "postgres-partitioned";
