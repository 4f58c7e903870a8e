/*
 * A daemon takes over from another one: vtpm/daemon/replacement/messages.py has the protocol.
 *
 * `course.h` has the old process's course as the code has it: AFTER(state, event) gives its next state.
 * Each process may be slow, stopped or killed between any two steps; time-outs may come at any moment.
 * One TPM stands for all: `memory` counts the commands whose effects it has, in all of its life,
 * and `of_old` and `of_new` those that are in the memory of each process.
 *
 * Properties, by their names in the assertions:
 *   is_current   who executes a command has the effects of all before it
 *   is_whole     who takes over has been given everything
 *   is_answered  in the end every request is answered where a process is left that was not told to end
 *   may_end      in the end a process that was told to end has ended
 */

#include "course.h"

#define COMMANDS 3
#define NOBODY 0
#define OLD 1
#define NEW 2

mtype = { VM, END, GO, STAY, BEGIN, READY, TAKEN };

chan to_new = [2] of { mtype, byte };
chan to_old = [4] of { mtype };

byte memory, of_old, of_new;
byte unread = COMMANDS;         /* commands that wait in the guest's socket */
bool is_working;                /* a command of the old process is on a thread */
bool waits_for_idle;            /* a step that tells of an idle TPM stands in its queue */
bool is_canceled;               /* and nobody waits for it any more */
byte requests = 1;              /* requests of the control channel that were not sent yet */
bool is_queued;                 /* one stands in the queue */
bool is_paused;                 /* the old process reads nothing */
byte state = SERVING;           /* its course */
bool old_ended, new_ended;      /* by itself */
bool old_killed, new_killed;    /* by somebody else */
bool new_is_doomed;             /* the old one has sent it SIGKILL */
bool is_stopped;                /* the new one runs no more, and has not ended */
bool is_told;                   /* the old one was told to end */
bool is_closed;                 /* the old one has closed the connection */
bool went_on;                   /* the word in shared memory: the old one went on after it had paused */
bool serves_new;
bool got_end;

#define old_is_here (!old_ended && !old_killed)
#define new_is_here (!new_ended && !new_killed)

#ifdef KILLS_BLINDLY
#define was_not_taken true
#else
#define was_not_taken !to_old?[TAKEN]
#endif

#define is_current(mine) (mine == memory)
#define is_whole (got_end)
#define is_answered (!old_is_here || serves_new || (!is_paused && unread == 0 && !is_queued && !is_working))
#define new_answers (!serves_new || !new_is_here || is_stopped || (unread == 0 && !is_queued))
#define may_end (!is_told || old_ended || old_killed || (state == REPLACED))

inline execute_in_old() {
    assert(is_current(of_old));
    memory++; of_old++
}

/* The loop of the old process: commands, requests, the end. */
active proctype old_loop() {
    do
    :: atomic { !old_is_here -> break }
    :: atomic { old_is_here && state == REPLACED && !is_working -> old_ended = true; break }
#ifdef READS_WHILE_PAUSED
    :: atomic { old_is_here && unread > 0 && !is_working && state != REPLACED -> unread--; execute_in_old() }
#else
    :: atomic { old_is_here && !is_paused && unread > 0 && !is_working && state != REPLACED ->
        unread--; execute_in_old() }
#endif
    :: atomic { old_is_here && !is_paused && unread > 0 && !is_working && state != REPLACED ->
        unread--; is_working = true }
    :: atomic { old_is_here && !is_paused && requests > 0 && is_working -> requests--; is_queued = true }
    :: atomic { old_is_here && !is_paused && requests > 0 && !is_working -> requests-- }
    :: atomic { old_is_here && is_working ->
        execute_in_old();
        is_working = false;
#ifdef DROPS_QUEUE
        if
        :: waits_for_idle && is_canceled -> skip    /* an exception ends the loop over the queue */
        :: else -> is_queued = false
        fi;
#else
        is_queued = false;
#endif
        waits_for_idle = false }
    :: atomic { old_is_here && is_told && state == SERVING && !is_working && !is_paused -> old_ended = true; break }
    od
}

inline advance(event) {
    assert(AFTER(state, event) != IMPOSSIBLE);
    state = AFTER(state, event)
}

/* What guests may wait for is over: the old process serves again, and says so. */
inline go_on() {
#ifdef NEVER_PROCEEDS
    went_on = true
#else
#ifdef WORD_AFTERWARDS
    is_paused = false;
    went_on = true
#else
    went_on = true;
    is_paused = false
#endif
#endif
}

/* The hand-over in the old process; it stops where that is killed. */
active proctype old_side() {
    {
        if
        :: to_old?BEGIN -> skip
        :: atomic { !new_is_here && empty(to_old) -> advance(ENDED); goto refused }
        :: atomic { advance(LATE); goto refused }
        :: atomic { is_told -> advance(TERMINATED); goto refused }
        fi;
        atomic { advance(BEGUN); is_paused = true };
#ifndef HANDS_OVER_AT_WORK
        if
        :: atomic { is_working -> waits_for_idle = true;
            if
            :: !is_working
            :: atomic { is_canceled = true; advance(LATE); goto resume }
            fi }
        :: !is_working
        fi;
#endif
        if
        :: atomic { nfull(to_new) -> to_new!VM(of_old) }
        :: atomic { advance(LATE); goto resume }
        :: atomic { !new_is_here -> advance(ENDED); goto resume }
        fi;
        if
        :: atomic { nfull(to_new) -> to_new!END(0); advance(PASSED) }
        :: atomic { advance(LATE); goto resume }
        :: atomic { !new_is_here -> advance(ENDED); goto resume }
        fi;
        if
        :: atomic { to_old?READY -> advance(READIED) }
        :: atomic { advance(LATE); goto resume }
        :: atomic { is_told -> advance(TERMINATED); goto resume }
        :: atomic { !new_is_here && empty(to_old) -> advance(ENDED); goto resume }
        fi;
        if
        :: atomic { nfull(to_new) -> to_new!GO(0) }
        :: atomic { !new_is_here -> advance(ENDED); goto resume }
        fi;
        if
        :: atomic { to_old?TAKEN -> advance(TOOK); goto out }
        :: atomic { !new_is_here && empty(to_old) -> advance(ENDED); goto resume }
#ifndef WAITS_FOREVER
#ifdef GOES_ON_AFTER_GO
        :: atomic { advance(ENDED); goto resume }
#else
        :: new_is_doomed = true
#endif
#endif
        fi;
#ifndef DOES_NOT_AWAIT_DEATH
        !new_is_here;
#endif
        if
#ifndef KILLS_BLINDLY
        :: atomic { to_old?TAKEN -> advance(TOOK); goto out }
#endif
        :: atomic { was_not_taken -> advance(ENDED) }
        fi;
resume:
        go_on();
refused:
        if
        :: atomic { nfull(to_new) -> to_new!STAY(0) }
        :: full(to_new)     /* it does not read: it is not waited for */
        fi;
        is_closed = true;
out:
        skip
    } unless { !old_is_here }
}

inline execute_in_new() {
    unread--;
    assert(is_current(of_new));
    memory++; of_new++
}

/* The new process; it stops where it is killed. */
active proctype new_side() provided (!is_stopped) {
    byte had;
    {
        to_old!BEGIN;
        do
        :: atomic { to_new?VM(had) -> of_new = had }
        :: atomic { to_new?END(_) -> got_end = true; break }
        :: atomic { to_new?STAY(_) -> new_ended = true; goto out }
        :: atomic { empty(to_new) && (is_closed || !old_is_here) ->
#ifdef TAKES_WHAT_CAME
            if
            :: !old_is_here -> goto take
            :: else -> new_ended = true; goto out
            fi
#else
            new_ended = true; goto out
#endif
            }
        od;
        to_old!READY;
        if
        :: to_new?GO(_)
        :: atomic { to_new?STAY(_) -> new_ended = true; goto out }
        :: empty(to_new) && (is_closed || !old_is_here);
#ifndef TAKES_AT_ONCE
            if
            :: !old_is_here
            :: atomic { old_is_here -> new_ended = true; goto out }     /* it does not die */
            fi;
#endif
#ifndef IGNORES_WORD
            if
            :: atomic { went_on -> new_ended = true; goto out }
            :: else
            fi
#endif
        fi;
take:
        assert(is_whole);
#ifdef TAKEN_AFTERWARDS
        if
        :: atomic { unread > 0 -> execute_in_new() }
        :: unread == 0
        fi;
#endif
        atomic { to_old!TAKEN; serves_new = true };
        do
        :: atomic { unread > 0 -> execute_in_new() }
        od;
out:
        skip
    } unless { new_killed }
}

/* Whoever kills, and whoever asks the old one to end. */
active proctype world() {
    do
    :: atomic { !is_told && old_is_here -> is_told = true }
    :: atomic { new_is_here && !old_killed -> is_stopped = true }
#ifndef NO_KILLS
    :: atomic { old_is_here && !new_killed && !is_stopped -> old_killed = true }
    :: atomic { new_is_here && !old_killed -> new_killed = true }
#endif
    :: break
    od
}

active proctype reaper() {
    if
    :: atomic { new_is_doomed && new_is_here -> new_killed = true }
    :: new_is_doomed && !new_is_here
    :: timeout -> skip
    fi;
    timeout;
    assert(is_answered);
    assert(new_answers);
    assert(may_end)
}
