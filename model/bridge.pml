/* Both roles of the bridge, the pipes between them, and what may go wrong; docs/model.md says what this proves.
 *
 * Which message may follow which is not written here: protocol.pml is made from the table that the code runs by. The host is
 * PluginProcess with Pump and end(), the child is serve(); names in comments are theirs.
 *
 * A message is PIECES pieces, the last of which says what it is. A pipe holds fewer, so it is full in the middle of a message.
 * One world at a time:
 *   (default)   the host is ours; the child begins honest, and may stop, die or lie from any step on; a deadline may pass, a
 *               callback may raise and Ctrl-C may come whenever the host waits
 *   HONEST      both are honest, and no deadline ever passes
 *   LIAR_HOST   the child is ours; the host says anything at any time, stops, closes what it likes, and dies
 * PROGRESS is for the question whether calls return: liars flood stderr too, which can do no harm but delay, and what only
 * other checks look at is left out.
 * What BAD_… turns on is a mistake that model/check.py wants to see found.
 */

#include "protocol.pml"

#if !defined(HONEST) && !defined(LIAR_HOST)
#define FAULTS
#endif

/* With three pieces one may be read and one be in the pipe, and the writer still has to wait. That needs two honest ones to
 * matter: with a liar as the peer a writer waits anyway.
 */
#ifdef FAULTS
#define PIECES 2
#else
#define PIECES 3
#endif
#define CAPACITY 1
/* What a plugin prints to stderr in one go, more than that pipe holds. */
#define NOISE 2

/* Besides the signals: a piece that does not end a message, and bytes that no reader takes. */
#define MORE 20
#define JUNK 21

/* --- the pipes, and who holds which end. The bit is of the call that a piece belongs to. */

chan to_child = [CAPACITY] of { byte, bit };
chan from_child = [CAPACITY] of { byte, bit };
chan errors = [1] of { bit };
bool stdin_written;	/* the host holds its end */
bool stdin_read;	/* the child holds its end, or a descendant of it does */
bool stdout_written;
bool stdout_read;
bool stderr_read;

/* --- the child as the system sees it */

bool start_child;
bool no_child = true;	/* nothing is left of the last one, descendants included */
bool alive;
bool unreaped;
bool told_to_end;	/* SIGTERM was sent */
bool killed;		/* SIGKILL was sent, to all of its group */
bool unheard;		/* whatever it writes is thrown away: then one kind of lie stands for all */

/* --- what only the checks look at */

bool calling;		/* a caller of the host waits */
bit call;		/* which call: this one, or the one before */
byte applied;		/* how often this call changed the caller's keyset */
byte performed;		/* how often a plugin did what this call asks for */
bool lied;		/* this child, or a descendant, wrote what it liked */
bool host_dead;		/* LIAR_HOST */

/* --- deadlines: what is armed passes at some time */

bool armed;
bool expired;

#if defined(FAULTS) && !defined(BAD_NO_DEADLINE)
active proctype Clock()
{
end_clock:
	do
	:: atomic { armed && !expired -> expired = true }
	od
}
#endif

#define ARM atomic { armed = true; expired = false }
#define DISARM atomic { armed = false; expired = false }

/* =================================================== the child =================================================== */

byte believed;		/* the state of its connection */
byte c_signal;		/* the request that is worked on, then its answer */
bit c_call;
byte c_out;		/* pieces that have to be written before anything else */
bool c_final;		/* the last of them ends the answer */
byte c_early;		/* pieces of the answer that went out before the question was read whole */
byte c_noise;		/* pieces that have to be written to stderr before anything else */
bool c_partial;		/* the begin of a message is read */
bool c_deaf;		/* SIGTERM does not end it */

/* The plugin's own view. It is kept apart from the connection's, or the table would be checked against itself. */
bool p_has_open;
bool p_open;
bool p_opened;		/* ever */
bool p_closed;		/* ever */

/* What a plugin may rely on, whoever the host is. */
inline perform()
{
	if
	:: c_signal == G_OPEN ->
		assert(!p_opened);
		p_opened = true
	:: c_signal == G_CLOSE ->
		assert(p_open || !p_has_open);
		assert(!p_closed);
		p_closed = true;
		p_open = false
	:: c_signal == G_GET || c_signal == G_CHECKCONF ->
		assert(p_open || !p_has_open || c_signal == G_CHECKCONF);
		assert(!p_closed);
#if !defined(LIAR_HOST) && !defined(PROGRESS)
		performed++;
		assert(performed <= 1)
#endif
	:: else
	fi
}

/* Connection.next_event in the role of the child, for one piece. */
inline child_takes()
{
	if
	:: !turn_of_host(believed) -> believed = S_FAILED
	:: turn_of_host(believed) && piece == MORE -> c_partial = true
	:: turn_of_host(believed) && piece != MORE ->
		c_partial = false;
		c_signal = piece;
		if
		:: sent_by_host(piece) -> protocol_step(believed, piece)
		:: else -> believed = S_FAILED
		fi
	fi;
#ifdef BAD_CHILD_GOES_ON
	if
	:: believed == S_FAILED && c_signal == G_GET -> believed = S_BUSY
	:: else
	fi;
#endif
	piece = 0
}

/* A plugin may print before it answers, and waits until that is taken. */
inline may_print()
{
#ifdef HONEST
	if
	:: c_noise = NOISE
	:: skip
	fi
#else
	skip
#endif
}

inline child_answers()
{
	if
	:: believed == S_INIT_SENT ->
		if
		:: c_signal = G_ACK; p_has_open = true
		:: c_signal = G_ACK_WITHOUT_OPEN
		fi
	:: else ->
		d_step { perform() };
		if
		:: d_step { p_open = p_open || c_signal == G_OPEN; c_signal = G_REPLY }
		:: c_signal = G_REPLY_ERROR
		fi
	fi;
	d_step {
		c_out = PIECES - c_early;
		c_early = 0;
		c_final = true;
		protocol_step(believed, c_signal);
		assert(believed != S_FAILED)	/* its own connection never refuses an honest child */
	};
	may_print()
}

/* The end that is the child's own: _close_if_due. */
inline child_leaves()
{
#ifndef BAD_CHILD_LEAVES_OPEN
	if
	:: p_open -> assert(!p_closed); p_closed = true; p_open = false
	:: else
	fi;
#endif
	assert(!p_open)
}

/* What is in a pipe that nobody reads is gone. */
inline nobody_reads()
{
	if
	:: nempty(to_child) -> to_child?_, _
	:: empty(to_child)
	fi
}

/* One step of somebody who keeps to nothing; blocked only while it could do nothing at all. */
inline lie()
{
	if
	:: atomic { stdout_written && stdout_read && nfull(from_child) ->
		if
		:: piece = JUNK
		:: !unheard -> piece = MORE
		:: !unheard -> any_message_of_child(piece)
		fi;
		from_child!piece, 0;
		piece = 0
	   }
	:: atomic { stdin_read && nempty(to_child) -> to_child?_, _ }
#ifdef PROGRESS
	:: atomic { stderr_read && nfull(errors) -> errors!1 }
#endif
	:: atomic { stdin_read -> stdin_read = false; nobody_reads() }
	:: atomic { stdout_written -> stdout_written = false }
	fi
}

/* Nothing of this counts any more; the fewer values are left, the fewer states there are to search. */
inline child_forgets()
{
	believed = S_IDLE; c_signal = 0; c_call = 0; c_out = 0; c_final = false; c_early = 0; c_noise = 0; c_partial = false;
	p_has_open = false; p_open = false; p_opened = false; p_closed = false;
	piece = 0
}

#define child_ready (c_noise == 0 && c_out == 0)

active proctype Child()
{
	byte piece;

end_none:
	do
	:: d_step { start_child -> start_child = false; no_child = false }
		{
			do
			/* Writing blocks: whoever writes does nothing else. */
			:: atomic { c_noise > 0 && stderr_read && nfull(errors) -> errors!1; c_noise-- }
			:: atomic { c_noise > 0 && !stderr_read -> c_noise = 0 }
			:: atomic { c_noise == 0 && c_out > 0 && stdout_read && nfull(from_child) ->
				if
				:: c_out == 1 && c_final -> from_child!c_signal, c_call; c_final = false; c_signal = 0; c_call = 0
				:: else -> from_child!MORE, c_call
				fi;
				c_out--
			   }
			:: atomic { c_noise == 0 && c_out > 0 && !stdout_read -> child_leaves(); break }
			:: atomic { child_ready && nempty(to_child) ->
				to_child?piece, c_call;
				d_step { child_takes() };
				if
				:: believed == S_FAILED || believed == S_CLOSING -> child_leaves(); break
				:: turn_of_child(believed) -> child_answers()
				:: else ->
					may_print();
#ifndef FAULTS
					/* It may answer as it reads; with faults, liars do. */
					if
					:: c_early == 0 && believed != S_IDLE -> c_early = PIECES - 1; c_out = c_early
					:: skip
					fi
#endif
				fi
			   }
			:: atomic { child_ready && empty(to_child) && !stdin_written ->
#ifdef HONEST
				assert(!c_partial);	/* an honest host does not leave in the middle */
#endif
				child_leaves();
				break
			   }
#ifdef FAULTS
			:: atomic { true -> child_forgets(); c_deaf = true }; false	/* it stops, until it is killed */
			:: break							/* it dies */
			:: atomic { true -> child_forgets(); lied = true; c_deaf = true };	/* it ends when it likes */
				do
				:: lie()
				:: break
				od;
				break
#endif
			od
		} unless { killed || (told_to_end && !c_deaf) };
		atomic { alive = false; child_forgets() };
#ifdef FAULTS
		/* A descendant may have inherited the pipes. */
		if
		:: !killed -> {
				lied = true;
				do
				:: lie()
				:: break
				od
			} unless { killed }
		:: skip
		fi;
#endif
		atomic {
			stdin_read = false;
			nobody_reads();
			stdout_written = false;
			child_forgets();
			c_deaf = false;
			no_child = true
		}
	od
}

inline new_pipes()
{
	stdin_written = true; stdin_read = true;
	stdout_written = true; stdout_read = true;
	stderr_read = true;
	do
	:: nempty(to_child) -> to_child?_, _
	:: nempty(from_child) -> from_child?_, _
	:: nempty(errors) -> errors?_
	:: empty(to_child) && empty(from_child) && empty(errors) -> break
	od
}

#ifndef LIAR_HOST
/* ==================================================== the host ==================================================== */

#define FAILURE 1	/* RemoteProtocolError or ChildGone */
#define LATE 2		/* DeadlinePassed */
#define INTERRUPT 3	/* what a callback raised, or KeyboardInterrupt */

/* Connection.next_event in the role of the host, for one piece. */
inline host_takes()
{
#ifdef BAD_LATE_OUTPUT
	assert(!eof);		/* receive_data after receive_eof is a mistake of the caller */
#endif
	if
	:: !turn_of_child(state) -> state = S_FAILED
	:: turn_of_child(state) && piece == MORE -> partial = true
	:: turn_of_child(state) && piece != MORE ->
		partial = false;
		if
		:: sent_by_child(piece) -> protocol_step(state, piece); answer = piece; answer_call = piece_call
		:: else -> state = S_FAILED
		fi;
#if defined(BAD_APPLIES_EARLY) || defined(BAD_APPLIES_TWICE)
		if
		:: asked == G_GET && answer == G_REPLY -> applied++
		:: else
		fi;
#endif
	fi;
	piece = 0; piece_call = 0
}

/* What is in the pipe of a child that is dead still counts; after it nothing does. */
inline notice_exit()
{
	exited = true;
	do
	:: stdout_read && !eof && state != S_FAILED && nempty(from_child) -> from_child?piece, piece_call; host_takes()
	:: !stdout_read || eof || state == S_FAILED || empty(from_child) -> break
	od;
	eof = true
}

#define complete (answer != 0 && rest == 0)
#ifdef BAD_LATE_OUTPUT
/* As the code once was: with an answer at hand, the end is not looked at while a part of the question is unwritten. */
#define over (eof && answer == 0)
#define may_read (true)
#else
#define over (eof)
#define may_read (!eof)
#endif
#ifdef BAD_WRITES_FIRST
#define may_read_now (may_read && rest == 0)
#else
#define may_read_now (may_read)
#endif
#ifdef BAD_DEADLINE_WHEN_IDLE
#define stop_waiting (expired && len(from_child) == 0 && len(errors) == 0)
#else
#define stop_waiting (expired)
#endif
#define waiting (state != S_FAILED && !complete && !over)
#define polling (waiting && !stop_waiting)

/* Pump.drain until the process is over, the deadline passed, or something was raised. */
inline drain(unbounded)
{
	do
	:: atomic { exited -> break }
	:: atomic { !exited && expired && !unbounded -> break }
	:: atomic { !exited && (!expired || unbounded) && !alive -> exited = true }
	:: atomic { !exited && (!expired || unbounded) && stdout_read && nempty(from_child) -> from_child?_, _ }
	:: atomic { !exited && (!expired || unbounded) && nempty(errors) -> errors?_ }
#ifdef FAULTS
	:: atomic { !exited && !unbounded && !interrupted -> interrupted = true; break }
#endif
	od
}

active proctype Host()
{
	byte state, asked, op, rest, answer, piece, trouble;
	bit answer_call, piece_call;
	bool running, eof, exited, partial, at_once, again, released, told, interrupted;

idle:	/* The caller has its result. */
	atomic {
		calling = false; op = 0; asked = 0; trouble = 0; again = false; at_once = false; interrupted = false;
		applied = 0; performed = 0
#ifndef PROGRESS
		; call = !call
#endif
	};
	/* From here to the next wait nobody else's steps matter: they could as well come before or after. The same goes for the
	 * other long `atomic`, from the end of an exchange to the first wait of the ladder; each is left at labels and waits only.
	 */
	atomic {
	if
	:: op = G_GET
	:: op = G_CHECKCONF
	:: running -> op = G_CLOSE
	:: !running -> goto quit
	fi;
	calling = true;
	if
	:: op == G_CLOSE -> goto leave
	:: else
	fi;

	/* _running: is there a child that is fit? */
	if
	:: !running -> goto start
	:: running && state == S_CLOSED -> again = true; goto ladder
	:: else
	fi;
	assert(state == S_READY || state == S_OPENED);	/* a failed connection is never used again */
	/* stray_output: nothing may have come unasked */
	if
	:: atomic { nempty(from_child) -> from_child?piece, piece_call; d_step { host_takes() } };
		assert(state == S_FAILED);
		trouble = FAILURE; at_once = true; goto ladder
	:: atomic { empty(from_child) && (!alive || !stdout_written) ->
		if
		:: !alive -> exited = true
		:: else
		fi
	   };
		again = true; goto ladder
	:: empty(from_child) && alive && stdout_written -> goto next
	fi;

start:	/* _handshake. Waiting for no_child is the model's: it has the variables of one child only. */
	assert(!unreaped);
	no_child;
	d_step {
		new_pipes();
		state = S_IDLE; eof = false; exited = false; partial = false;
		told_to_end = false; killed = false; lied = false; unheard = false;
		running = true; unreaped = true; alive = true; start_child = true;
		asked = G_INIT
	};
	goto attempt;

next:	/* _open, then the operation itself */
	if
	:: state == S_READY && op == G_GET -> asked = G_OPEN
	:: else -> asked = op
	fi;

attempt:
	if
	:: state == S_CLOSED -> trouble = FAILURE; at_once = true; goto ladder	/* it ended after its last answer */
	:: else
	fi;
	d_step {
		assert(running && unreaped && state != S_FAILED);
		protocol_step(state, asked);
		assert(state != S_FAILED);		/* the host never says what the table does not allow */
		if
		:: asked == G_INIT -> rest = 1
		:: else -> rest = PIECES
		fi;
		answer = 0
	};
	ARM
	};
	/* Pump.exchange */
	do
	:: atomic { state == S_FAILED -> trouble = FAILURE; break }
	:: atomic { state != S_FAILED && complete -> break }
	:: atomic { state != S_FAILED && !complete && over ->
		d_step { protocol_step(state, G_CHILD_EOF) };
		trouble = FAILURE;
		break
	   }
	:: atomic { waiting && stop_waiting -> trouble = LATE; break }
	:: atomic { polling && may_read_now && stdout_read && nempty(from_child) ->
		from_child?piece, piece_call;
		d_step { host_takes() }
	   }
	:: atomic { polling && may_read_now && stdout_read && empty(from_child) && !stdout_written ->
		stdout_read = false;
		d_step {
			if
			:: !alive -> exited = true		/* _settle, if it came to that in time */
			:: else
			fi
		};
		eof = true
	   }
	:: atomic { polling && rest > 0 && stdin_read && nfull(to_child) ->
		if
		:: rest == 1 -> to_child!asked, call
		:: else -> to_child!MORE, call
		fi;
		rest--
	   }
	:: atomic { polling && rest > 0 && !stdin_read -> trouble = FAILURE; break }
#ifndef BAD_STDERR_LEFT
	:: atomic { polling && may_read_now && nempty(errors) -> errors?_ }
#endif
	:: atomic { polling && may_read_now && !exited && !alive -> d_step { notice_exit() } }
#ifdef FAULTS
	:: atomic { polling -> trouble = INTERRUPT; break }
#endif
	od;
	atomic {
	DISARM;
	if
	:: trouble == 0 ->
		/* More may have come with the answer: a second one is none. */
		if
		:: atomic { !eof && stdout_read && nempty(from_child) ->
			from_child?piece, piece_call;
			d_step { host_takes() }
		   }
		:: skip
		fi;
		d_step {
			if
			:: state != S_FAILED && eof -> protocol_step(state, G_CHILD_EOF)
			:: else
			fi;
			if
			:: state == S_FAILED -> trouble = FAILURE
			:: else
			fi
		}
	:: else
	fi;
#ifdef HONEST
	assert(trouble == 0);			/* honest ones are never refused, by nobody */
#endif
#ifdef BAD_KEEPS_LATE
	if
	:: trouble == LATE && asked == G_GET -> rest = 0; answer = 0; goto idle
	:: else
	fi;
#endif
#ifdef BAD_STALE_ANSWER
	if
	:: trouble == LATE && asked == G_GET && rest == 0 && !partial -> state = S_OPENED; answer = 0; goto idle
	:: else
	fi;
#endif
	if
	:: trouble != 0 ->
		at_once = (asked != G_CLOSE || trouble == INTERRUPT);
		rest = 0; answer = 0;
#ifdef BAD_RETRIES
		again = (asked == G_GET && trouble == FAILURE);
#endif
		goto ladder
	:: else
	fi;
	if
	:: asked == G_INIT -> answer = 0; goto next
	:: asked == G_OPEN && answer == G_REPLY -> answer = 0; goto next
	:: asked == G_OPEN && answer != G_REPLY -> trouble = FAILURE; goto ladder
	:: asked == G_CLOSE -> goto ladder
	:: asked == op && op != G_CLOSE
	fi;
	/* _operate */
	if
#ifdef BAD_APPLIES_ERROR
	:: true ->
#else
	:: answer == G_REPLY ->
#endif
#ifndef BAD_APPLIES_EARLY
		applied++;
#endif
		assert(applied <= 1);
		assert(answer == G_REPLY);			/* never after an error */
		assert(lied || answer_call == call)		/* the answer to this question */
	:: answer == G_REPLY						/* noupdate */
	:: answer == G_REPLY_ERROR
	fi;
	atomic { answer = 0; answer_call = 0 };
	goto idle;

leave:	/* PluginProcess.end */
	if
	:: state == S_OPENED -> asked = G_CLOSE; goto attempt
	:: else
	fi;

ladder:	/* end() */
	atomic {
		if
		:: released = true
		:: released = false
		fi;
		/* Nothing is asked any more. That an error was reported is all that has to be remembered. */
		unheard = true; asked = 0; rest = 0; answer = 0; answer_call = 0; partial = false; trouble = (trouble != 0)
	};
	if
	:: exited -> goto reap
	:: else
	fi;
	/* _say_terminate: a full pipe counts as asked, since the end of stdin follows */
	d_step {
		answer = state;
		protocol_step(answer, G_TERMINATE);
		told = (!at_once && answer != S_FAILED);
		answer = 0;
		if
		:: told ->
			protocol_step(state, G_TERMINATE);
			if
			:: stdin_read && nfull(to_child) -> to_child!G_TERMINATE, call
			:: !stdin_read || full(to_child)
			fi
		:: else
		fi;
		if
		:: !released -> stdin_written = false
		:: else
		fi;
		state = S_CLOSED; released = false; at_once = false
	};
#ifdef BAD_NO_GRACE
	told = false;
#endif
	if
	:: told -> ARM
	:: else -> goto tell
	fi
	};
	drain(false);
	DISARM;
tell:	if
	:: !exited && !interrupted ->
		d_step { told_to_end = true; stdin_written = false };
#ifdef HONEST
		assert(!told_to_end);		/* who does its part is never told with signals */
#endif
		ARM;
		drain(false);
		DISARM
	:: else
	fi;
#ifdef BAD_INTERRUPT_LEAKS
	if
	:: interrupted -> running = false; goto idle
	:: else
	fi;
#endif
#ifndef BAD_NO_KILL
	if
	:: !exited ->
		killed = true;
		/* A callback is not asked any more, and the system delivers SIGKILL: KILL_WAIT is not for a fault of the child. */
		drain(true)
	:: else
	fi;
#endif
reap:
	atomic {
		assert(!alive);			/* waitpid would not find it */
		killed = true;
		unreaped = false;
		running = false; state = S_CLOSED; eof = false; exited = false; partial = false; released = false; told = false;
		rest = 0; answer = 0; answer_call = 0;
		stdin_written = false; stdout_read = false; stderr_read = false;
		assert(trouble == 0 || applied == 0)	/* who reports an error has changed nothing */
	};
	if
	:: again -> again = false; trouble = 0; at_once = false; goto start
	:: else -> goto idle
	fi;

quit:
	assert(!unreaped)			/* nothing is left behind */
}

/* Every call of the host comes back. */
ltl calls_return { [] (calling -> <> !calling) }

#else
/* ================================================ a host that lies ================================================ */

active proctype LiarHost()
{
	byte piece;

	no_child;
	d_step { new_pipes(); alive = true; start_child = true };
	do
	:: atomic { stdin_written && stdin_read && nfull(to_child) ->
		if
		:: piece = MORE
		:: piece = JUNK
		:: any_message_of_host(piece)
		fi;
		to_child!piece, 0;
		piece = 0
	   }
	:: atomic { stdout_read && nempty(from_child) -> from_child?_, _ }
	:: atomic { stdin_written -> stdin_written = false }
	:: atomic { stdout_read -> stdout_read = false }
	:: false			/* it stops */
	:: break
	od;
	atomic { stdin_written = false; stdout_read = false; stderr_read = false; host_dead = true }
}

/* A child does not outlive its host. */
ltl child_follows { [] (host_dead -> <> no_child) }
#endif
