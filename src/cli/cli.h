/* The commands of the program: each has its own file. argv[0] is the command's name. They return the exit code. */
#ifndef XO_CLI_H
#define XO_CLI_H
#include "cli/options.h"
int xo_cmd_bench(int argc, char **argv);
int xo_cmd_check(int argc, char **argv);
int xo_cmd_consume(int argc, char **argv);
int xo_cmd_convert(int argc, char **argv);
int xo_cmd_doctor(int argc, char **argv);
int xo_cmd_explain(int argc, char **argv);
int xo_cmd_init(int argc, char **argv);
int xo_cmd_prune(int argc, char **argv);
int xo_cmd_rejected(int argc, char **argv);
int xo_cmd_replay(int argc, char **argv);
int xo_cmd_rewind(int argc, char **argv);
int xo_cmd_seen(int argc, char **argv);
int xo_cmd_send(int argc, char **argv);
int xo_cmd_serve(int argc, char **argv);
int xo_cmd_stats(int argc, char **argv);
int xo_cmd_topic(int argc, char **argv);
int xo_cmd_upgrade(int argc, char **argv);
#endif
