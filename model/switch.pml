/* A group changes over from claims by record to claims by offset, while a member of the old kind does not know it yet: it is paused, or has not been told. Workers of the old member and one member by offset
 * run side by side; copies that the old member sent back are still on their way; records are pruned.
 *
 * The old member: a record a message, the mark looked for after the claim, in a later statement; what fails is sent back, with or without an answer; its settled prefix is written without a condition.
 * The new one: takes the queue over (epoch, mark), then asks where the queue ends, and claims what stands before that end by record too. CRASHES: of the new member, BACKS: send-backs.
 * -D of a name that stands in an #ifdef below takes one guard away. */
#ifndef N
#define N 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef BACKS
#define BACKS 1
#endif
#ifndef MORE
#define MORE 2    /* messages that come later */
#endif
#define ALL 15    /* record_before: all of them, as long as the end is not known */
#ifdef NO_MARK
#define NOMARK 1
#else
#define NOMARK 0
#endif
#define HAS(set, i) (((set) >> (i)) & 1)
#define ADD(set, i) set = (set) | (1 << (i))
#define DEL(set, i) set = (set) & ~(1 << (i))

byte max = N, more = MORE, crashes = CRASHES, backs = BACKS;
short applied = 0;
/* the database */
short records = 0, claimed = 0; /* committed; of an open transaction: others wait */
byte next = 0, epoch = 0, before = 0;
bit marked = 0;                 /* the queue is claimed by offset */
/* the retry queue, and what is on its way there */
short retry = 0, leaving = 0;
/* the old member's memory: shared by its workers */
short taken = 0, settled = 0;
byte prefix = 0;

inline apply(which) { assert(!HAS(applied, which)); ADD(applied, which) }

mtype = { IDLE, HAVE, CLAIMED, LOOKED, FAILED, STOPPED };

proctype Old() {
    mtype at = IDLE;
    byte m = 0;
    bit copy = 0;
    do
    :: atomic { at == IDLE && !copy ->
           if
           :: !HAS(taken, 0) && 0 < max -> m = 0
           :: !HAS(taken, 1) && 1 < max -> m = 1
           :: !HAS(taken, 2) && 2 < max -> m = 2
           :: !HAS(taken, 3) && 3 < max -> m = 3
           fi;
           ADD(taken, m); at = HAVE }
    :: atomic { at == HAVE && !HAS(claimed, m) -> /* waits for an open claim of the same key */
           if
           :: HAS(records, m) -> ADD(settled, m); at = IDLE
           :: else -> ADD(claimed, m); at = CLAIMED
           fi }
    :: atomic { at == CLAIMED ->
           if
#ifndef NO_MARK
           :: marked -> DEL(claimed, m); at = STOPPED
#endif
           :: (NOMARK || !marked) && m < next -> DEL(claimed, m); ADD(settled, m); at = IDLE
           :: (NOMARK || !marked) && m >= next -> at = LOOKED
           fi }
    :: atomic { at == LOOKED -> apply(m); ADD(records, m); DEL(claimed, m); ADD(settled, m); at = IDLE }
    :: atomic { at == LOOKED && backs > 0 -> backs--; DEL(claimed, m); ADD(leaving, m); at = FAILED } /* its handler fails: rolled back */
    :: atomic { at == FAILED -> DEL(leaving, m); ADD(retry, m);
           if
           :: ADD(settled, m)
           :: true /* the broker has it, its answer is lost */
           fi;
           at = IDLE }
    /* positions: what is settled without a gap, at any time later, however old */
    :: atomic { HAS(settled, prefix) -> prefix++ }
    :: atomic { prefix > next -> next = prefix }
    od
}

proctype New() {
    byte mine = 0, from = 0, upto = 0, m = 0;
    bit dup = 0, up = 0, know = 0, have = 0, both = 0;
    do
    :: atomic { !up ->
#ifdef END_FIRST
           upto = max; know = 1; up = 1 }
    :: atomic { up && mine == 0 ->
#else
           up = 1;
#endif
           epoch++; mine = epoch; from = next;
           if
           :: !marked -> marked = 1; before = ALL
           :: else -> skip
           fi;
#ifdef FORGETS
           if :: epoch > 1 -> before = 0 :: else fi;
#endif
#ifdef END_FIRST
           if :: before == ALL -> before = upto :: else fi
#endif
           }
    /* the end of the queue, asked after the take-over */
    :: atomic { up && mine > 0 && before == ALL && epoch == mine -> before = max }
    :: atomic { up && mine > 0 && !have && from < max -> m = from; have = 1; dup = 0;
#ifdef NO_RECORDS
           both = 0
#else
           both = (m < before)
#endif
           }
    :: atomic { have && both && !HAS(claimed, m) ->
           both = 0;
           if
           :: HAS(records, m) -> dup = 1
           :: else -> ADD(claimed, m)
           fi;
           /* the effects, the record and the move of the row in one COMMIT */
           if
           :: epoch == mine && next == m ->
               if :: !dup -> apply(m); ADD(records, m); DEL(claimed, m) :: else fi;
               next = m + 1; from = m + 1
           :: else ->
               if :: !dup -> DEL(claimed, m) :: else fi;
               up = 0; mine = 0; know = 0
           fi;
           have = 0 }
    :: atomic { have && !both && epoch == mine && next == m -> apply(m); next = m + 1; from = m + 1; have = 0 }
    :: atomic { have && !both && !(epoch == mine && next == m) -> up = 0; mine = 0; know = 0; have = 0 }
    :: atomic { up && crashes > 0 -> crashes--; up = 0; mine = 0; know = 0; have = 0; both = 0 }
    /* copies come to whoever asks; they are claimed by record by both kinds, and settled in the retry queue itself */
    :: atomic { HAS(retry, 0) && !HAS(claimed, 0) -> DEL(retry, 0); if :: HAS(records, 0) :: else -> apply(0); ADD(records, 0) fi }
    :: atomic { HAS(retry, 1) && !HAS(claimed, 1) -> DEL(retry, 1); if :: HAS(records, 1) :: else -> apply(1); ADD(records, 1) fi }
    :: atomic { HAS(retry, 2) && !HAS(claimed, 2) -> DEL(retry, 2); if :: HAS(records, 2) :: else -> apply(2); ADD(records, 2) fi }
    :: atomic { HAS(retry, 3) && !HAS(claimed, 3) -> DEL(retry, 3); if :: HAS(records, 3) :: else -> apply(3); ADD(records, 3) fi }
    od
}

proctype Others() {
    byte x = 0;
    do
    :: atomic { more > 0 -> more--; max++ }
    /* a record goes when the row covers it and no copy of its message is outstanding: the watermark */
    :: atomic { retry == 0 && leaving == 0 && next > 0 && HAS(records, 0) -> DEL(records, 0) }
    :: atomic { retry == 0 && leaving == 0 && next > 1 && HAS(records, 1) -> DEL(records, 1) }
    :: timeout -> break
    od;
    atomic {
        x = 0;
        do
        :: x < max -> assert(HAS(applied, x)); x++
        :: else -> break
        od
    }
}

init {
    atomic {
        byte k = 0;
        do :: k < WORKERS -> run Old(); k++ :: else -> break od;
        k = 0;
        run New();
        run Others()
    }
}
