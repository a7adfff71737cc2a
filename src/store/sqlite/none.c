/* Stands in for the SQLite engine in a build without libsqlite3. */
#include "store/dialect.h"

#ifndef HAVE_SQLITE
const xo_dialect *xo_dialect_sqlite(void)
{
    return NULL;
}
#endif
