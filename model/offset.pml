/* Offset mode (no row a message): the range is advanced in the batch's own transaction, where it still says what the member expects and was taken over by nobody else. Two members that both
 * believe they own the queue, and a broker that may lose its history. Nothing is sent back: a message that fails is tried again in place.
 *
 * CRASHES, MOVES (the queue is given to the member anew, or an operator resets its offset), CUTS: as in record.pml; BATCH: messages of one transaction at most. The broker's committed offset
 * may be anything at each start. LOST: COMMITs that succeed without an answer, so that the batch is run again. -D of a name that stands in an #ifdef below takes one guard away. */
#define IN_ORDER
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
#ifndef BATCH
#define BATCH 2
#endif
#ifndef LOST
#define LOST 0     /* answers to COMMIT that never arrive */
#endif
byte crashes = CRASHES, moves = MOVES, lost = LOST;
byte epoch = 0; /* how often the queue was taken over */

#ifdef NO_FENCE
#define MATCHES true
#elif defined(NO_EPOCH)
#define MATCHES (hgen == rows - 1 && hat == row[hgen].next)
#elif defined(NO_EXPECTED)
#define MATCHES (hepoch == epoch)
#else
#define MATCHES (hepoch == epoch && hgen == rows - 1 && hat == row[hgen].next)
#endif

/* Takes the queue over, in one transaction: the rows as they are, an epoch of its own. */
inline take_over() {
    x = 0;
    if
    :: rows == 0 -> rows = 1; row[0].first = 0; row[0].next = 0 /* the first one inserts */
    :: else -> x = row[rows - 1].next
    fi;
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
    from = x;
    seen = history;
#ifdef SAME_EPOCH
    if :: again -> skip :: else -> epoch++ fi;
#else
    epoch++;
#endif
    mine = epoch;
    x = 0; y = 0; g = 0;
    state = RUN
}

inline forget_queue() { state = DOWN; from = 0; seen = 0; mine = 0 }
inline drop() { hand = IDLE; hat = 0; hend = 0; hgen = 0; hwas = 0; hepoch = 0; hnew = 0; hseen = 0 }

mtype = { DOWN, RUN, FENCED };
mtype = { IDLE, HAVE, BEFORE, AFTER };

proctype Member() {
    mtype state = DOWN, hand = IDLE;
    bit seen = 0, again = 0, hseen = 0, hnew = 0; /* hnew: newer than the range it stands in */
    byte from = 0, mine = 0;                          /* the next to take; the epoch of its last take-over */
    byte hat = 0, hend = 0, hgen = 0, hwas = 0, hepoch = 0; /* in hand: offsets, expected generation, epoch */
    byte x = 0, y = 0, g = 0;
    do
    :: atomic { state == DOWN -> again = 0; take_over() }
    :: atomic { state == RUN && seen != history -> again = 1; take_over(); again = 0 } /* also while a batch of before is in hand */
    :: atomic { state != DOWN && moves > 0 ->
           moves--;
           if
           :: state == RUN && seen == history -> take_over() /* a reset */
           :: forget_queue()
           fi }
    /* what a range covers is passed over */
    :: d_step { hand == IDLE && state == RUN && seen == history && from < max && COVERED(AT(from, seen)) -> from++ }
    :: atomic { hand == IDLE && state == RUN && seen == history && from < max && !COVERED(AT(from, seen)) ->
           hat = from; hend = from + 1; hgen = rows - 1; hepoch = mine; hseen = seen; hnew = INSIDE(row[hgen], hat);
           if
           :: BATCH > 1 && hend < max && !COVERED(AT(hend, seen)) -> hend++
           :: skip
           fi;
           hand = HAVE }
#ifdef ADVANCE_FIRST
    :: d_step { hand == HAVE && MATCHES && !hnew -> row[hgen].next = hend; hand = BEFORE }
    :: d_step { hand == BEFORE ->
           g = hat;
           do :: g < hend -> x = AT(g, hseen); apply(x, y); g++ :: else -> break od;
           if :: state == RUN && hepoch == mine -> from = hend :: else fi;
           drop(); x = 0; g = 0 }
#elif defined(ADVANCE_LATER)
    :: d_step { hand == HAVE && MATCHES && !hnew ->
           g = hat;
           do :: g < hend -> x = AT(g, hseen); apply(x, y); g++ :: else -> break od;
           hand = AFTER; x = 0; g = 0 }
    :: d_step { hand == AFTER ->
           row[hgen].next = hend;
           if :: state == RUN && hepoch == mine -> from = hend :: else fi;
           drop() }
#endif
    /* effects and UPDATE ... WHERE next_offset = expected AND epoch = mine, one transaction; or, with what is newer than a range that it stands in, the INSERT of the next generation */
    :: atomic { hand == HAVE ->
           hwas = hgen;
           if
           :: (!hnew && MATCHES) || (hnew && hepoch == epoch && hgen == rows - 1) ->
#ifndef NO_FENCE
               assert(hepoch == epoch); /* who was taken over changes nothing */
#endif
               if
               :: hnew ->
#ifdef SAME_RANGE
                   row[hgen].next = hat
#else
                   assert(rows < ROWS);
                   rows++; hgen = rows - 1; row[hgen].first = hat; row[hgen].next = hat
#endif
               :: else
               fi;
               g = hat;
               do
               :: g < hend -> x = AT(g, hseen); apply(x, y); RAISE(row[hgen].time, TIME(x)); RAISE(row[hgen].place, PLACE(x)); g++
               :: else -> break
               od;
               row[hgen].next = hend;
               x = 0; g = 0;
               if
               :: lost > 0 -> lost--; hgen = hwas /* the same again */
               :: true -> if :: state == RUN && hepoch == mine -> from = hend :: else fi; drop()
               fi
           :: else ->
               if
               :: state == RUN && hepoch == mine && hepoch == epoch -> forget_queue() /* its own doing, of which it was not told: read again */
               :: state == RUN && hepoch == mine && hepoch != epoch -> state = FENCED; from = 0; mine = 0; seen = 0
               :: else
               fi;
               drop()
           fi }
    :: d_step { crashes > 0 && state != DOWN ->
           crashes--;
           drop(); forget_queue() }
    od
}

init {
    atomic {
        byte k = 0;
        do :: k < MEMBERS -> run Member(); k++ :: else -> break od;
        k = 0;
        run Broker()
    }
}
