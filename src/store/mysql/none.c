/* Stands for the MySQL store in a build without a MySQL client library. */
#include "store/dialect.h"

#ifndef HAVE_MYSQL
const xo_dialect *xo_dialect_mysql(void)
{
    return NULL;
}
#endif
