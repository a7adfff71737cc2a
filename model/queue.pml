/* What both models share: one queue of a broker, its messages, the change of its history, and the settled ranges in the database.
 *
 * A message is a number. 0 .. N-1 stand in the queue at first, at the offset of the same number; after the history changed, those from `cut` on are gone and N, N+1, ... come to stand at
 * cut, cut+1, ... So offset, store time and place in the log are functions of the number, and cost no state. */
#ifndef N
#define N 3        /* slots of the queue */
#endif
#ifndef KIND
#define KIND 0     /* of the history change: 0 the broker loses its end (later store times, same places in the log); 1 the topic is made again (same millisecond, further on in the log);
                      2 as 0, but within one millisecond: beyond the guarantee, must be found */
#endif
#ifndef CUTS
#define CUTS 0     /* history changes: 0 or 1 */
#endif
#ifndef ROWS
#define ROWS 6     /* generations */
#endif
#define IDS (2 * N)
#define NONE 15
#define HAS(set, i) (((set) >> (i)) & 1)
#define ADD(set, i) set = (set) | (1 << (i))
#define DEL(set, i) set = (set) & ~(1 << (i))

byte max = N;      /* end of the queue */
byte cut = 0;      /* where the new history begins */
bit history = 0;
byte cuts = CUTS;
short applied = 0; /* messages whose effects are committed */

#define AT(o, h) (((h) && (o) >= cut) -> N + (o) - cut : (o))
#define OFFSET(m) ((m) < N -> (m) : cut + (m) - N)
#define STORED(m) ((m) < N -> (!history || (m) < cut) : (history && cut + (m) - N < max))
/* store time and place in the log, both from 1 on: 0 in a range says "nothing yet" */
#if KIND == 0
#define TIME(m) ((m) + 1)
#define PLACE(m) (OFFSET(m) + 1)
#elif KIND == 1
#define TIME(m) ((m) < N -> (m) + 1 : N)
#define PLACE(m) ((m) + 1)
#else
#define TIME(m) ((m) < N -> (m) + 1 : N)
#define PLACE(m) (OFFSET(m) + 1)
#endif

/* xonce_settled */
byte rows = 0;
typedef range { byte first, next, time, place };
range row[ROWS];

#ifdef NO_TIME
#define OLD_TIME(r, m) true
#else
#define OLD_TIME(r, m) (TIME(m) <= r.time)
#endif
#ifdef NO_PLACE
#define OLD_PLACE(r, m) true
#else
#define OLD_PLACE(r, m) (PLACE(m) <= r.place)
#endif
#define INSIDE(r, o) (r.first <= (o) && (o) < r.next)
#define COVERS(r, m) (INSIDE(r, OFFSET(m)) && OLD_TIME(r, m) && OLD_PLACE(r, m))
/* by any row */
#define COVERED(m) ((rows > 0 && COVERS(row[0], m)) || (rows > 1 && COVERS(row[1], m)) || (rows > 2 && COVERS(row[2], m)) || (rows > 3 && COVERS(row[3], m)) || \
                    (rows > 4 && COVERS(row[4], m)) || (rows > 5 && COVERS(row[5], m)))

#define RAISE(into, by) into = ((by) > (into) -> (by) : (into))

/* The effects of m are committed. */
inline apply(which, i) {
    assert(!HAS(applied, which)); /* at most once */
#ifdef IN_ORDER
    i = 0;
    do
    :: STORED(which) && i < OFFSET(which) -> assert(HAS(applied, AT(i, history))); i++
    :: else -> break
    od;
    i = 0;
#endif
    ADD(applied, which)
}

/* The first offset whose message was not stored before the youngest known store time: what may be of another history stands behind it. Real ones look back ten minutes further: see place(). */
inline search(found, young) {
    found = 0;
    young = rows;
    do
    :: young > 0 && row[young - 1].time == 0 -> young--
    :: else -> break
    od;
    do
    :: young > 0 && found < max && TIME(AT(found, history)) < row[young - 1].time -> found++
    :: else -> break
    od
}

proctype Broker() {
    byte x;
    do
    :: atomic { cuts > 0 ->
           cuts--;
           history = 1;
#if KIND != 1
           do
           :: cut < N - 1 -> cut++
           :: break
           od;
#endif
           max = cut }
    :: atomic { history && max < N -> max++ }
    :: timeout -> break
    od;
    /* all is quiet: everything that stands in the queue was applied */
    atomic {
        x = 0;
        do
        :: x < max -> assert(HAS(applied, AT(x, history))); x++
        :: else -> break
        od
    }
}
