/* Record mode (a row a message), also ordered (-DORDERED): two members that both believe they own the queue, the retry queue, a pruner, and a broker that may lose its history.
 *
 * Events, each as often as its counter allows: CRASHES of a member, at any step; MOVES: the queue is given to the member anew, or an operator resets its offset; BACKS: send-backs, whose
 * answer may be lost; CUTS: a change of the history. The broker's committed offset is not kept at all: at each start it may be whatever the database does not know better, which covers resets,
 * restored files and stale members' reports. A member may sleep between any two steps, as long as the others like.
 *
 * -D of a name that stands in an #ifdef below takes one guard away. */
#ifdef ORDERED
#define IN_ORDER
#endif
#include "queue.pml"
#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef BACKS
#define BACKS 0
#endif
#define COPIES (BACKS + 1)

short record = 0;  /* transaction_record: messages with a committed row */
short open = 0;    /* keys that an open transaction has claimed */
byte crashes = CRASHES, moves = MOVES, backs = BACKS;

/* The retry queue: message of each copy; up to where the database has it settled, and what a broker was told of that. */
byte copy[COPIES];
byte copies = 0, copies_next = 0;
#ifdef BROKER_FIRST
byte copies_told = 0;
#else
#define copies_told copies_next /* told after that, at once or later: pruners that know it at once do the worst */
#endif
int sending = 0; /* rolled back, the send-back not yet made: by the first member, and from 8 on by the second */
#ifdef COPY_ROW
short by_copy = 0; /* rows written for a copy; its number */
byte copy_of[IDS];
#endif

#ifdef COPY_BY_ORIGINAL
#define COPY_COVERED(c) COVERED(copy[c])
#elif defined(COPY_UNASKED)
#define COPY_COVERED(c) false
#else
#define COPY_COVERED(c) ((c) < copies_next)
#endif

/* Writes the range g, first, next, ...: a new row as it is; one that is there grows, next and maxima together, if it is continued. ok = 0: it is not, start anew. */
inline save(g, f, n, t, p, ok) {
    ok = 1;
    if
    :: g >= rows -> assert(g == rows && g < ROWS); rows++; row[g].first = f; row[g].next = n; row[g].time = t; row[g].place = p
    :: else ->
        if
        :: n > row[g].next && f <= row[g].next ->
            row[g].next = n; RAISE(row[g].time, t); RAISE(row[g].place, p)
        :: else ->
            ok = row[g].next >= n
#ifdef RAISED_ALONE
            ; RAISE(row[g].time, t); RAISE(row[g].place, p)
#endif
        fi
    fi
}

#ifdef GAPS
#define PASSES(o) (settled >> (o))
#else
#define PASSES(o) HAS(settled, o)
#endif
/* The settled prefix moves. Before it enters another history, what is behind it is saved. */
inline advance() {
    do
    :: from < to && PASSES(from) && !(from == opens && changed) ->
        if
        :: from == opens ->
#ifdef TRUNCATE
            row[gen].next = from;
#else
            gen++;
#endif
            first = from; next = from; time = 0; place = 0; opens = NONE; changed = 1
        :: else
        fi;
        x = AT(from, seen);
        DEL(settled, from);
        from++;
        if
        :: from > next -> next = from; RAISE(time, TIME(x)); RAISE(place, PLACE(x)); changed = 1
        :: else
        fi
    :: else -> break
    od;
    x = 0
}

/* Where to read from, and into which range: `from` is the least of the own position, what the search by time says, and the broker's offset, which may be anything. */
inline begin() {
    x = from;
#ifndef NO_LOOK_BACK
    search(y, g);
    if :: y < x -> x = y :: else fi;
#endif
    if :: max < x -> x = max :: else fi;
#ifdef TRUST_BROKER
    do :: x < max -> x++ :: break od;
#else
    do :: x > 0 -> x-- :: break od;
#endif
    from = x; to = x; settled = 0; opens = NONE; changed = 0;
    seen = history;
    mine = 0;
    g = rows;
    if
    :: g > 0 && from <= row[g - 1].next && from >= row[g - 1].first ->
        gen = g - 1; first = row[gen].first; next = row[gen].next; time = row[gen].time; place = row[gen].place
    :: else ->
        gen = g; first = from; next = from; time = 0; place = 0
    fi;
    x = 0; y = 0; g = 0;
    state = READY
}

inline forget_queue() {
    state = DOWN; mine = 0; seen = 0; taken = 0;
    from = 0; to = 0; settled = 0; opens = NONE; changed = 0;
    gen = 0; first = 0; next = 0; time = 0; place = 0
}

inline put_down() { hand = IDLE; c = NONE; m = 0; mine = 0 }
#ifdef OLD_MARK
#define TELLS (c != NONE || (state == RUN && from <= OFFSET(m) && OFFSET(m) < to))
#else
#define TELLS (c != NONE || mine)
#endif
/* Settled in memory; for another step nobody could tell whether a crash came before it or behind it, and what is in hand while its queue starts anew sleeps elsewhere. */
inline done() {
    if
    :: c != NONE -> ADD(taken, c)
    :: c == NONE && TELLS ->
        ADD(settled, OFFSET(m));
#ifdef RAISED_ALONE
        RAISE(time, TIME(m)); RAISE(place, PLACE(m)); changed = 1;
#endif
        advance()
    :: else
    fi;
    put_down()
}

mtype = { DOWN, AGAIN, READY, RUN };                    /* of the queue at a member */
mtype = { IDLE, HAVE, CLAIMED, FRESH, LATER, BACK };     /* of the message in a worker's hand */

/* The message at offset o waits in the buffer of this member, and may be taken. */
#define UNSETTLED(o) (from <= (o) && (o) < to && !HAS(settled, o))
#if defined(ORDERED) && !defined(OVERTAKE)
#define WAITS(o) (UNSETTLED(o) && ((o) < 1 || !UNSETTLED(0)) && ((o) < 2 || !UNSETTLED(1)) && ((o) < 3 || !UNSETTLED(2)))
#else
#define WAITS(o) UNSETTLED(o)
#endif
#define ANY_WAITS (UNSETTLED(0) || UNSETTLED(1) || UNSETTLED(2) || UNSETTLED(3))

proctype Member(byte me) {
    mtype state = DOWN, hand = IDLE;
    bit seen = 0;                           /* the history of its connection */
    byte from = 0, to = 0, settled = 0;     /* read up to `to`, all settled before `from`; what is settled behind it */
    byte gen, first, next, time, place;     /* the range that it writes */
    byte opens = NONE;                      /* the offset with which the next generation begins */
    bit changed = 0;                        /* the range is not saved */
    byte taken = 0;                         /* copies that it has settled */
    byte m = 0, c = NONE;                   /* in hand: message, and which copy */
    bit mine = 0;                           /* handed out since the queue's last start */
    byte x = 0, y = 0, g = 0;
    bit ok = 0;
    do
    /* ---- the queue ---- */
    :: atomic { state == DOWN ->
           from = 0;
           if :: rows > 0 -> from = row[rows - 1].next :: else fi;
           taken = (1 << copies_next) - 1;
           begin() }
    :: d_step { state == RUN && seen != history && changed -> /* its own position first */
           save(gen, first, next, time, place, ok); changed = 0; ok = 0 }
    :: atomic { (state == AGAIN || (state == RUN && seen != history && !changed)) -> begin() }
    :: d_step { state == READY -> /* the row is there before the first message */
           save(gen, first, next, time, place, ok);
           state = (ok -> RUN : AGAIN); ok = 0 }
    :: atomic { state == RUN && seen == history && to < max -> /* pull */
           do
           :: to < max ->
               x = AT(to, seen);
               if
               :: COVERED(x) -> ADD(settled, to)
#ifdef FORGETFUL
               :: true ->
#else
               :: else ->
#endif
                   if
#ifndef RAISED_ALONE
                   :: opens == NONE && first <= to && to < next -> opens = to /* inside, but newer */
#endif
                   :: else
                   fi
               fi;
               to++
           :: else -> break
           od;
           x = 0;
           advance() }
    :: d_step { state == RUN && changed ->
           save(gen, first, next, time, place, ok);
           if :: ok -> changed = 0; advance() :: else -> changed = 0; state = AGAIN fi;
           ok = 0 }
    :: atomic { state == RUN && moves > 0 ->
           moves--;
           if
           :: seen == history && !changed -> taken = 0; begin() /* a reset, of the retry queue too */
           :: forget_queue()                                    /* it leaves, and is taken over anew */
           fi }
    /* ---- the retry queue ---- */
    :: d_step { (HAS(taken, copies_next) && copies_next < copies) ->
           do :: copies_next < copies && HAS(taken, copies_next) -> copies_next++ :: else -> break od;
           x = 0 }
#ifdef BROKER_FIRST
    :: d_step { HAS(taken, copies_told) && copies_told < copies -> copies_told++ }
#endif
    /* ---- a message ---- */
    :: atomic { hand == IDLE && state == RUN && from < to && ANY_WAITS ->
           if
           :: WAITS(0) -> x = 0
           :: WAITS(1) -> x = 1
           :: WAITS(2) -> x = 2
           :: WAITS(3) -> x = 3
           fi;
           m = AT(x, seen); mine = 1; hand = HAVE; x = 0 }
    :: atomic { hand == IDLE && state != DOWN && copies > 0 && taken != (1 << copies) - 1 ->
           x = 0;
           do :: x < copies && HAS(taken, x) -> x++ :: else -> break od;
           if
           :: STORED(copy[x]) -> c = x; m = copy[x]; hand = HAVE
           :: else -> ADD(taken, x) /* its original is gone: kept as rejected */
           fi;
           x = 0 }
#ifdef RANGE_FIRST
    :: d_step { hand == HAVE ->
           if
           :: (c == NONE && COVERED(m)) || (c != NONE && COPY_COVERED(c)) -> done()
           :: else -> hand = CLAIMED
           fi }
    :: d_step { hand == CLAIMED && !HAS(open, m) ->
           if
           :: HAS(record, m) -> assert(HAS(applied, m)); done()
           :: else -> ADD(open, m); hand = FRESH
           fi }
#else
#ifdef NO_CLAIM
    :: d_step { hand == HAVE -> hand = CLAIMED }
#endif
    :: d_step { hand == HAVE && !HAS(open, m) -> /* the key of an open claim is waited for */
           if
           :: HAS(record, m) -> assert(HAS(applied, m)); done()
           :: else ->
               ADD(open, m); hand = CLAIMED
#ifdef SETTLED_EARLY
               ; if :: c == NONE && mine -> ADD(settled, OFFSET(m)); advance() :: else fi
#endif
           fi }
    :: d_step { hand == CLAIMED ->
           if
#ifndef NO_RANGE
           :: (c == NONE && COVERED(m)) || (c != NONE && COPY_COVERED(c)) -> DEL(open, m); done()
#endif
           :: else -> hand = FRESH
           fi }
#endif
    :: d_step { hand == FRESH -> /* COMMIT */
           apply(m, x);
#ifdef ROW_LATER
           hand = LATER }
    :: d_step { hand == LATER ->
#endif
           ADD(record, m); DEL(open, m);
#ifdef COPY_ROW
           if :: c != NONE -> ADD(by_copy, m); copy_of[m] = c :: else fi;
#endif
           done() }
#if !defined(ORDERED) || defined(SEND_BACK)
    :: d_step { hand == FRESH && backs > 0 -> /* the handler asks for redelivery: rolled back */
           backs--; DEL(open, m); ADD(sending, m + 8 * me); hand = BACK }
    :: atomic { hand == BACK ->
           copy[copies] = m; copies++; DEL(sending, m + 8 * me);
           if
           :: done()
           :: hand = HAVE /* the answer is lost: run again here */
           fi }
#endif
    /* ---- the end ---- */
    :: d_step { crashes > 0 && state != DOWN ->
           crashes--;
           if :: hand == CLAIMED || hand == FRESH || hand == LATER -> DEL(open, m) :: else fi;
           if :: hand == BACK -> DEL(sending, m + 8 * me) :: else fi;
           put_down(); forget_queue() }
    od
}

/* A record goes when a range remembers it, by the original's coordinates, and all copies of the retry queue are settled as far as the brokers know. */
#ifdef PRUNE_UNCOVERED
#define MAY_GO(m) true
#elif defined(COPY_ROW)
#define MAY_GO(m) ((HAS(by_copy, m) && rows > 0 && INSIDE(row[0], copy_of[m])) || (!HAS(by_copy, m) && COVERED(m)))
#else
#define MAY_GO(m) COVERED(m)
#endif
#ifdef PRUNE_EARLY
#define QUIET(m) true
#elif defined(SLOW_SENDER)
#define QUIET(m) (copies_told == copies)
#else
#define QUIET(m) (copies_told == copies && !HAS(sending, m) && !HAS(sending, m + 8))
#endif
#define GO(m) HAS(record, m) && MAY_GO(m) && QUIET(m) -> DEL(record, m)
proctype Pruner() {
    do
    :: d_step { GO(0) }
    :: d_step { GO(1) }
    :: d_step { GO(2) }
    :: d_step { GO(3) }
    :: d_step { GO(4) }
    :: d_step { GO(5) }
#if N > 3
    :: d_step { GO(6) }
    :: d_step { GO(7) }
#endif
    od
}

init {
    atomic {
        byte k = 0;
        do :: k < MEMBERS -> run Member(k); k++ :: else -> break od;
        k = 0;
        run Pruner();
        run Broker()
    }
}
