/* The version of this library. Here rather than in base, of which libxonce-test has a copy: it asks with which libxonce it runs. */
#include "base/error.h"

const char *xonce_version(void)
{
    return XONCE_VERSION;
}
