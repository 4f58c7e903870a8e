/*
 * Custody and migration of one TPM among hosts: vtpm/daemon/device/custody.py.
 *
 * OUTCOME(holding, relation, is_same, is_later) is what `decide` gives there: decisions.h is written from the code.
 * A stretch of a run is a bit. `truth` are the stretches that a state really follows from, `claims` those that its
 * lineage stands for: with a stretch of a host, all earlier ones of that host.
 *
 * HONEST: blobs travel in migrations only, and the hypervisor tells what became of them; hosts and migrations fail.
 * Otherwise whoever has the network keeps any blob and gives it to any host at any time, makes blobs in the clear,
 * and tells any host anything; all hosts deny reverts.
 * FORGER: he has the provider's key, besides, and makes sealed blobs that claim whatever he likes.
 *
 * Each mutant takes one rule out; test_custody_model.py names the property that rejects it.
 */

#include "decisions.h"

#ifndef HOSTS
#define HOSTS 3
#endif
#ifndef KEPT
#define KEPT 1      /* how many state blobs somebody keeps */
#endif
#define MADE KEPT   /* one that he makes */
#define SLOTS (KEPT + 1)
#define NOBODY HOSTS
#ifndef STRETCHES
#define STRETCHES 7
#endif
#define BIT(id) (1 << (id))

#define OFF 0
#define NOTED 1     /* INIT: the arrival is in the audit log */
#define LOADED 2    /* INIT is done */

/* What is durable at a host. */
byte holding[HOSTS], content[HOSTS], top[HOSTS], came[HOSTS];
byte truth[HOSTS], claims[HOSTS];
bool admits_clear[HOSTS], admits_revert[HOSTS];
/* What a crash takes. */
byte phase[HOSTS], slot[HOSTS], outcome[HOSTS];
bool begins[HOSTS];    /* the next command begins a stretch */
/* What is on its way, or kept by somebody. */
bool there[SLOTS], sealed[SLOTS];
byte blob_content[SLOTS], blob_top[SLOTS], blob_truth[SLOTS], blob_claims[SLOTS];
#ifdef COUNTED
byte moves[HOSTS], blob_moves[SLOTS];
#endif
/* Of the world. */
byte last = 1, newest = 1, made[HOSTS];    /* the stretches that a host has ever numbered */
bool words;
byte clear_words, clear_arrivals;
bool spoken;           /* an operator's word has put something else in force */
bool noted[HOSTS];     /* the audit log has the newest arrival here */
#ifdef HONEST
byte source = NOBODY, target = NOBODY, moving;
#define SENT 1
#define THERE 2
#define CONFIRMED 3
#endif

/* The properties, by name: none of these is true, unless it is not asked for, and an assertion that fails shows its name. */
hidden byte single, is_noted, is_sealed, monotone, went_away;
#ifdef SINGLE_ALONE
hidden byte arrives = 1, goes_back = 1, is_kept = 1;
#else
hidden byte arrives, goes_back, is_kept;
#endif

hidden byte relation, compared;
hidden byte is_same;

inline number(host) {
    last++;
    made[host] = made[host] | BIT(last);
    top[host] = last;
    claims[host] = claims[host] | made[host]
}

inline go_on(host) {
    if
    :: begins[host] ->
#ifdef HONEST
        /* single: only the newest state goes on, so that no run goes on twice. */
        assert(single || content[host] == newest);
#endif
        number(host);
        content[host] = last;
        truth[host] = truth[host] | BIT(last);
        newest = last;
        came[host] = 0;
        holding[host] = HERE;
        begins[host] = false
#if defined(SAME_STRETCH) || defined(START_GOES_ON)
    :: else ->
        last++;
        content[host] = last;
        truth[host] = truth[host] | BIT(last);
        newest = last;
        holding[host] = HERE
#else
    :: else     /* nothing has been handed out between two changes of a stretch: they count as one */
#endif
    fi
}

inline hand_out(host, into) {
    there[into] = true;
    sealed[into] = true;
    blob_content[into] = content[host];
    blob_top[into] = top[host];
    blob_truth[into] = truth[host];
    blob_claims[into] = claims[host];
#ifdef COUNTED
    blob_moves[into] = moves[host];
#endif
#ifndef SAME_STRETCH
    begins[host] = true;
#endif
#ifdef GIVEN_AT_ONCE
    holding[host] = AWAY
#endif
}

inline compare(host, from) {
    compared = (holding[host] == ARRIVED -> came[host] : top[host]);
    is_same = (blob_content[from] == content[host]);
    if
    :: !sealed[from] || compared == 0 -> relation = UNKNOWN
    :: else ->
        if
        :: blob_top[from] == compared || (came[host] != 0 && blob_top[from] == came[host]) -> relation = SAME
        :: else -> relation = ((blob_claims[from] & BIT(compared)) != 0 -> NEWER : OTHER)
        fi
    fi
}

inline receive(host, from) {
    compare(host, from);
#ifdef COUNTED
    /* The rule before: blobs count how often the TPM has moved, and what has moved more often is newer. */
    if
    :: holding[host] == EXPECTED || (holding[host] == ARRIVED && blob_moves[from] + 1 >= moves[host]) ||
       blob_moves[from] > moves[host] -> outcome[host] = ARRIVES
    :: else -> outcome[host] = (holding[host] == AWAY -> REFUSED : (is_same -> STAYS : REVERTS))
    fi;
#else
    outcome[host] = OUTCOME(holding[host], relation, is_same, false);
#endif
#ifdef AWAY_TAKES_BACK
    if :: holding[host] == AWAY && relation == SAME -> outcome[host] = ARRIVES :: else fi;
#endif
    slot[host] = from;
    if
    :: !sealed[from] && !admits_clear[host] ->
#ifndef CLEAR
        outcome[host] = REFUSED
#else
        outcome[host] = ARRIVES
#endif
    :: else
    fi;
    if
    :: outcome[host] >= REVERTS && (sealed[from] || admits_clear[host]) && admits_revert[host] -> outcome[host] = REVERTS
    :: outcome[host] == REVERTS && !admits_revert[host] -> outcome[host] = REFUSED    /* all deny reverts */
    :: else
    fi;
    if
    :: outcome[host] != REFUSED ->
        phase[host] = NOTED;
#ifndef NOTED_AFTER
        noted[host] = true
#endif
    :: else -> outcome[host] = 0; slot[host] = 0
    fi
}

inline commit(host, from) {
    /* is_noted: no state that came is in force before the audit log has it. */
    assert(is_noted || noted[host]);
    /* is_sealed: nothing in the clear is in force without a word for it, and a word is good for one arrival. */
    if
    :: !sealed[from] -> clear_arrivals++; assert(is_sealed || clear_arrivals <= clear_words)
    :: else
    fi;
#ifndef FORGER
    /* monotone: what is in force follows from what was there, unless an operator said otherwise. */
    assert(monotone || spoken || outcome[host] == REVERTS || content[host] == 0 || !sealed[from] ||
        (blob_truth[from] & BIT(content[host])) != 0);
    /* went_away: what was given away comes back as what became of it, and not as what it was. */
    assert(went_away || spoken || outcome[host] == REVERTS || holding[host] != AWAY || !sealed[from] ||
        blob_top[from] != top[host]);
#endif
    if
    :: outcome[host] == REVERTS || !sealed[from] -> spoken = true
    :: else
    fi;
#ifndef WORD_STAYS
    if :: !sealed[from] -> admits_clear[host] = false :: else fi;
    if :: outcome[host] == REVERTS -> admits_revert[host] = false :: else fi;
#endif
    if
    :: outcome[host] == STAYS
    :: else ->
#ifdef COUNTED
        moves[host] = blob_moves[from] + 1;
#endif
        came[host] = (sealed[from] -> blob_top[from] : 0);
        content[host] = blob_content[from];
        truth[host] = blob_truth[from];
        claims[host] = (sealed[from] -> blob_claims[from] : 0);
        number(host);
        if
        :: outcome[host] == REVERTS && holding[host] == HERE -> came[host] = 0
        :: else ->
#ifdef KEPT_AT_ONCE
            holding[host] = HERE
#else
            holding[host] = ARRIVED
#endif
        fi
    fi;
    phase[host] = LOADED;
    begins[host] = true;
    outcome[host] = 0;
    slot[host] = 0;
    noted[host] = false
}

inline crash(host) {
    phase[host] = OFF;
    begins[host] = false;
    outcome[host] = 0;
    slot[host] = 0;
    noted[host] = false
}

inline start(host) {
    phase[host] = LOADED;
#ifndef START_GOES_ON
    begins[host] = true
#endif
}

#ifdef START_ARRIVED
#define MAY_START(host) (holding[host] == HERE || holding[host] == ARRIVED)
#else
#ifdef START_AWAY
#define MAY_START(host) (holding[host] == HERE || holding[host] == AWAY)
#else
#define MAY_START(host) (holding[host] == HERE)
#endif
#endif

#define ROOM (last < STRETCHES)

#define HERE_OR_ARRIVED(host) (holding[host] == HERE || holding[host] == ARRIVED)
#define COMES(host, from) \
    :: d_step { phase[host] == OFF && there[from] -> receive(host, from) } \
    :: d_step { phase[host] == NOTED && slot[host] == from && ROOM -> UNNOTED(host); commit(host, from) }

#ifdef NOTED_AFTER
#define UNNOTED(host) noted[host] = false
#else
#define UNNOTED(host) skip
#endif

#ifdef HONEST
#define IS_BUSY(host) ((host) == source || (host) == target)
#define POWER(host) \
    :: d_step { phase[host] == OFF && MAY_START(host) && !IS_BUSY(host) -> start(host) } \
    :: d_step { phase[host] == LOADED && ROOM && (!IS_BUSY(host) || (host == target && moving == CONFIRMED)) -> \
                go_on(host) } \
    :: d_step { phase[host] != OFF && (!IS_BUSY(host) || (host == target && moving == CONFIRMED)) -> crash(host) }
/* A source that loses power after the migration and before the word of it is told nothing, and is not here: an operator
 * may start the VM there again. Its arrival elsewhere is in the audit log, and what comes back is a revert then. */
#define MIGRATION(host, other) \
    :: d_step { phase[host] == LOADED && phase[other] == OFF && moving == 0 -> \
                source = host; target = other; hand_out(host, 0); moving = SENT } \
    :: d_step { moving == SENT && host == source && other == target && phase[other] == OFF -> receive(other, 0); \
                /* arrives: an honest migration is never refused. */ \
                assert(arrives || phase[other] == NOTED) } \
    :: d_step { phase[other] == NOTED && ROOM && host == source && other == target -> \
                UNNOTED(other); commit(other, 0); moving = THERE } \
    /* It fails at any point: the target ends, the source goes on; or is lost itself, and is started again. */ \
    :: d_step { moving != 0 && moving < CONFIRMED && host == source && other == target -> \
                crash(other); over(); \
                /* goes_back: after a migration that failed, the source can go on. */ \
                assert(goes_back || holding[host] == HERE || phase[host] == LOADED && holding[host] == ARRIVED) } \
    :: d_step { moving != 0 && moving < CONFIRMED && host == source && other == target && holding[host] == HERE -> \
                crash(other); crash(host); over() } \
    :: d_step { moving == THERE && host == source && other == target -> crash(host); moving = CONFIRMED } \
    :: d_step { moving == CONFIRMED && host == target && holding[host] == ARRIVED -> holding[host] = HERE } \
    :: d_step { moving == CONFIRMED && host == source && other == target -> \
                holding[host] = AWAY; came[host] = 0; over() }
#define IS_KEPT(host) (content[host] == newest && (holding[host] != AWAY || moving == CONFIRMED))
#else
#define POWER(host) \
    :: d_step { phase[host] == OFF && MAY_START(host) -> start(host) } \
    :: d_step { phase[host] == LOADED && ROOM -> go_on(host) } \
    :: d_step { phase[host] != OFF -> crash(host) } \
    /* What is told, true or not. */ \
    :: d_step { phase[host] == OFF && HERE_OR_ARRIVED(host) -> holding[host] = AWAY; came[host] = 0 } \
    :: d_step { phase[host] == OFF && holding[host] == ARRIVED -> holding[host] = HERE } \
    /* What an operator says: one word. */ \
    :: d_step { phase[host] == OFF && !words -> words = true; clear_words = 1; admits_clear[host] = true } \
    :: d_step { phase[host] == OFF && !words -> words = true; admits_revert[host] = true } \
    :: d_step { phase[host] == OFF && !words && ROOM && (holding[host] == AWAY || holding[host] == ARRIVED) -> \
                words = true; spoken = true; number(host); came[host] = 0; holding[host] = HERE }
#define KEEPS(host, into) \
    :: d_step { phase[host] == LOADED && IS_FREE(into) -> hand_out(host, into) }
#define IS_FREE(into) ((phase[0] != NOTED || slot[0] != into) && (phase[1] != NOTED || slot[1] != into) && \
    (phase[HOSTS - 1] != NOTED || slot[HOSTS - 1] != into))
#endif

inline over() {
    moving = 0; source = NOBODY; target = NOBODY;
    there[0] = false; sealed[0] = false; blob_content[0] = 0; blob_top[0] = 0; blob_truth[0] = 0; blob_claims[0] = 0
}

init {
    d_step {
        content[0] = 1; top[0] = 1; truth[0] = BIT(1); claims[0] = BIT(1); made[0] = BIT(1);
        holding[1] = EXPECTED; holding[HOSTS - 1] = EXPECTED;
#ifndef HONEST
        there[MADE] = true;
#ifdef FORGER
        sealed[MADE] = true; blob_top[MADE] = STRETCHES + 1; blob_claims[MADE] = 255;
#endif
#endif
    }
    do
    POWER(0)
    POWER(1)
#if HOSTS > 2
    POWER(2)
#endif
#ifdef HONEST
    MIGRATION(0, 1)
    MIGRATION(1, 0)
#if HOSTS > 2
    MIGRATION(0, 2)
    MIGRATION(2, 0)
    MIGRATION(1, 2)
    MIGRATION(2, 1)
#endif
    /* is_kept: the newest state is always stored where it was not given away. */
    :: assert(is_kept || IS_KEPT(0) || IS_KEPT(1) || IS_KEPT(HOSTS - 1))
#else
    /* Whoever has the network. */
    KEEPS(0, 0)
    KEEPS(1, 0)
    COMES(0, 0)
    COMES(1, 0)
    COMES(0, MADE)
    COMES(1, MADE)
#if KEPT > 1
    KEEPS(0, 1)
    KEEPS(1, 1)
    COMES(0, 1)
    COMES(1, 1)
#endif
#if HOSTS > 2
    KEEPS(2, 0)
    COMES(2, 0)
    COMES(2, MADE)
#if KEPT > 1
    KEEPS(2, 1)
    COMES(2, 1)
#endif
#endif
#endif
    :: d_step { last == STRETCHES -> skip }
    od
}
