/* Stands in for the PostgreSQL engine in a build without libpq. */
#include "store/dialect.h"

#ifndef HAVE_POSTGRESQL
const xo_dialect *xo_dialect_postgres(void)
{
    return NULL;
}
#endif
