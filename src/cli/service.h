/* Run by systemd: what the journal and the manager are told beyond the lines themselves. Does nothing elsewhere. */
#ifndef XO_CLI_SERVICE_H
#define XO_CLI_SERVICE_H

/* "<4>" and so on in front of a line of that level (XO_ERROR...) when stderr is the journal, which takes it off and files the line by it; "" otherwise. */
const char *xo_service_level(int level);
/* At the start, before there are threads: notes whom to tell, and keeps it from the programs that are run. */
void xo_service_begin(void);
/* Tells the manager (Type=notify) that the start is done. */
void xo_service_ready(void);
#endif
