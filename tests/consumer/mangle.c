/* A reverse proxy for tests that spoils answers: mangle HOST:PORT METHOD HOW [COUNT].
 *
 * First line on stdout: "listening on 127.0.0.1:PORT". Requests go to HOST:PORT as they are; of those with METHOD the first COUNT successful answers
 * (0, the default: all answers, also failures) come back spoiled, so what they brought was handed out and nobody has it.
 *   garbage    bytes that are not HTTP
 *   page       200 and a page of HTML
 *   cut        half of the body, then the connection ends
 *   silent     nothing, while the client waits
 *   malformed  half of the document under a correct length
 *   endless    a document that does not end
 *   bomb       a document type with nested entities, used in the document
 *   empty      200 and a document without a message
 *   other      200 and a well-formed document of another kind
 *   digest     bodies that do not fit their digests
 *   nohandle   messages without a receipt handle
 *   nothing    200 and no body */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in target;
static const char *method, *how;
static int counting;
static long left;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct {
    char *p;
    size_t n, cap;
} text;

static void add(text *t, const char *p, size_t n)
{
    if (t->n + n + 1 > t->cap) {
        t->cap = (t->n + n + 1) * 2;
        t->p = realloc(t->p, t->cap);
        if (!t->p)
            exit(1);
    }
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

static int send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* Reads once; 0: the end, or `other` (-1: none) has something to say first, which a client that waits only does by going away. */
static int read_some(int fd, int other, text *t)
{
    char chunk[65536];
    struct pollfd p[2] = {{fd, POLLIN, 0}, {other, POLLIN, 0}};
    if (poll(p, 2, -1) < 0 || (!p[0].revents && p[1].revents))
        return 0;
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n > 0)
        add(t, chunk, (size_t)n);
    return n > 0;
}

/* Where the body begins; 0: not there yet. */
static size_t head_length(const text *t)
{
    const char *end = t->p ? strstr(t->p, "\r\n\r\n") : NULL;
    return end ? (size_t)(end - t->p) + 4 : 0;
}

static size_t content_length(const text *t)
{
    const char *p = strcasestr(t->p, "\r\ncontent-length:");
    return p && (size_t)(p - t->p) < head_length(t) ? (size_t)strtoul(p + 17, NULL, 10) : 0;
}

static int read_request(int fd, text *t)
{
    size_t head;
    while (!(head = head_length(t)) || t->n < head + content_length(t))
        if (!read_some(fd, -1, t))
            return 0;
    return 1;
}

/* One connection a request, so that the answer ends with it. */
static int ask(const text *request, int client, text *answer)
{
    static const char header[] = "\r\nConnection: close";
    int fd = socket(AF_INET, SOCK_STREAM, 0), ok;
    const char *first_line = strstr(request->p, "\r\n");
    size_t n = (size_t)(first_line - request->p);
    ok = fd >= 0 && connect(fd, (struct sockaddr *)&target, sizeof target) == 0 && send_all(fd, request->p, n) == 0 &&
         send_all(fd, header, sizeof header - 1) == 0 && send_all(fd, first_line, request->n - n) == 0;
    while (ok && read_some(fd, client, answer))
        ;
    close(fd);
    return ok && head_length(answer) > 0;
}

static int chosen(const text *request, const text *answer)
{
    size_t n = strlen(method);
    int good = strncmp(answer->p, "HTTP/1.1 2", 10) == 0, yes;
    if (strncmp(request->p, method, n) != 0 || request->p[n] != ' ')
        return 0;
    pthread_mutex_lock(&lock);
    yes = !counting || (good && left > 0);
    left -= yes;
    pthread_mutex_unlock(&lock);
    return yes;
}

static void answer_with(int fd, const char *body, size_t n)
{
    char head[160];
    int k = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/xml;charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", n);
    if (send_all(fd, head, (size_t)k) == 0)
        send_all(fd, body, n);
}

static void answer_text(int fd, const char *body)
{
    answer_with(fd, body, strlen(body));
}

static void answer_endless(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/xml;charset=utf-8\r\nConnection: close\r\n\r\n<Messages>";
    static const char part[] = "<Message><MessageId>1E057D5E6EAD42A579937046FE170001</MessageId><MessageBody>a</MessageBody></Message>";
    text many = {0};
    for (int i = 0; i < 10000; i++)
        add(&many, part, sizeof part - 1);
    if (send_all(fd, head, sizeof head - 1) == 0)
        while (send_all(fd, many.p, many.n) == 0)
            ;
    free(many.p);
}

/* Writes `to` over each `from`. */
static void replace(char *p, const char *from, const char *to)
{
    for (; (p = strstr(p, from)) != NULL; p += strlen(from))
        memcpy(p, to, strlen(to));
}

static void answer_bomb(int fd)
{
    static const char first[] = "<?xml version=\"1.0\"?><!DOCTYPE Messages [<!ENTITY e0 \"ha\">";
    static const char last[] = "]><Messages><Message><MessageBody>&e30;</MessageBody></Message></Messages>";
    text t = {0};
    char line[200];
    add(&t, first, sizeof first - 1);
    for (int i = 1; i <= 30; i++) {
        int n = snprintf(line, sizeof line, "<!ENTITY e%d \"&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;\">", i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        add(&t, line, (size_t)n);
    }
    add(&t, last, sizeof last - 1);
    answer_with(fd, t.p, t.n);
    free(t.p);
}

static void wait_for_client(int fd)
{
    text nothing = {0};
    while (read_some(fd, -1, &nothing))
        ;
    free(nothing.p);
}

static void spoil(int fd, text *answer)
{
    size_t head = head_length(answer), body = answer->n - head;
    if (!strcmp(how, "garbage"))
        send_all(fd, "\x16\x03\x01\x02 what is this\r\n\r\n", 21);
    else if (!strcmp(how, "page"))
        answer_text(fd, "<!doctype html><html><head><title>Sign in<br></head><body><p>Welcome to the hotel</body></html>");
    else if (!strcmp(how, "cut"))
        send_all(fd, answer->p, head + body / 2);
    else if (!strcmp(how, "silent"))
        wait_for_client(fd);
    else if (!strcmp(how, "malformed"))
        answer_with(fd, answer->p + head, body / 2);
    else if (!strcmp(how, "endless"))
        answer_endless(fd);
    else if (!strcmp(how, "bomb"))
        answer_bomb(fd);
    else if (!strcmp(how, "empty"))
        answer_text(fd, "<?xml version=\"1.0\"?><Messages xmlns=\"http://mq.aliyuncs.com/doc/v1/\"></Messages>");
    else if (!strcmp(how, "other"))
        answer_text(fd, "<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\"><body/></html>");
    else if (!strcmp(how, "nothing"))
        answer_text(fd, "");
    else if (!strcmp(how, "digest"))
        replace(answer->p + head, "<MessageBody>", "<MessageBody>#"), answer_with(fd, answer->p + head, body);
    else if (!strcmp(how, "nohandle"))
        replace(answer->p + head, "ReceiptHandle>", "SomethingElse>"), answer_with(fd, answer->p + head, body);
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    text request = {0}, answer = {0};
    while (read_request(fd, &request) && ask(&request, fd, &answer)) {
        if (chosen(&request, &answer)) {
            spoil(fd, &answer);
            break;
        }
        if (send_all(fd, answer.p, answer.n) != 0 || strcasestr(answer.p, "\r\nconnection: close"))
            break;
        request.n = answer.n = 0;
    }
    shutdown(fd, SHUT_RDWR);
    close(fd);
    free(request.p);
    free(answer.p);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof me;
    pthread_t thread;
    char *colon = argc > 3 ? strrchr(argv[1], ':') : NULL;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (!colon) {
        fputs("usage: mangle ADDRESS:PORT METHOD HOW [COUNT]\n", stderr);
        return 2;
    }
    *colon = 0;
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10));
    method = argv[2];
    how = argv[3];
    left = argc > 4 ? strtol(argv[4], NULL, 10) : 0;
    counting = left > 0;
    signal(SIGPIPE, SIG_IGN);
    if (inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 || listener < 0 || bind(listener, (struct sockaddr *)&me, n) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&me, &n) != 0) {
        perror("mangle");
        return 1;
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(me.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, NULL, serve, (void *)(long)fd) == 0)
            pthread_detach(thread);
    }
}
