/* Made by model/generate.py from stdioproc/state.py; do not edit. */

#define S_IDLE 0
#define S_INIT_SENT 1
#define S_READY 2
#define S_BUSY_OPEN 3
#define S_BUSY_CHECKCONF 4
#define S_OPENED 5
#define S_BUSY 6
#define S_BUSY_CLOSE 7
#define S_ENDING 8
#define S_CLOSING 9
#define S_CLOSED 10
#define S_FAILED 11

#define G_INIT 1
#define G_OPEN 2
#define G_GET 3
#define G_CHECKCONF 4
#define G_CLOSE 5
#define G_TERMINATE 6
#define G_HOST_EOF 7
#define G_ACK 8
#define G_ACK_WITHOUT_OPEN 9
#define G_REPLY 10
#define G_REPLY_ERROR 11
#define G_CHILD_EOF 12
#define G_SET G_GET
#define G_COMMIT G_GET
#define G_ERROR G_GET

/* Any message of one side, for peers that say anything at any time. */
inline any_message_of_host(piece)
{
	if
	:: piece = G_INIT
	:: piece = G_OPEN
	:: piece = G_GET
	:: piece = G_CHECKCONF
	:: piece = G_CLOSE
	:: piece = G_TERMINATE
	fi
}
#define sent_by_host(g) ((g) == G_INIT || (g) == G_OPEN || (g) == G_GET || (g) == G_CHECKCONF || (g) == G_CLOSE || (g) == G_TERMINATE)
#define turn_of_host(s) ((s) == S_IDLE || (s) == S_READY || (s) == S_OPENED || (s) == S_ENDING)

inline any_message_of_child(piece)
{
	if
	:: piece = G_ACK
	:: piece = G_ACK_WITHOUT_OPEN
	:: piece = G_REPLY
	:: piece = G_REPLY_ERROR
	fi
}
#define sent_by_child(g) ((g) == G_ACK || (g) == G_ACK_WITHOUT_OPEN || (g) == G_REPLY || (g) == G_REPLY_ERROR)
#define turn_of_child(s) ((s) == S_INIT_SENT || (s) == S_BUSY_OPEN || (s) == S_BUSY_CHECKCONF || (s) == S_BUSY || (s) == S_BUSY_CLOSE)

/* What is not in the table is an error. Inside d_step: `else` needs all of the table to be looked at at once. */
inline protocol_step(state, signal)
{
	if
	:: state == S_IDLE && signal == G_INIT -> state = S_INIT_SENT
	:: state == S_INIT_SENT && signal == G_ACK -> state = S_READY
	:: state == S_INIT_SENT && signal == G_ACK_WITHOUT_OPEN -> state = S_OPENED
	:: state == S_READY && signal == G_CHECKCONF -> state = S_BUSY_CHECKCONF
	:: state == S_BUSY_CHECKCONF && signal == G_REPLY -> state = S_READY
	:: state == S_BUSY_CHECKCONF && signal == G_REPLY_ERROR -> state = S_READY
	:: state == S_READY && signal == G_OPEN -> state = S_BUSY_OPEN
	:: state == S_BUSY_OPEN && signal == G_REPLY -> state = S_OPENED
	:: state == S_BUSY_OPEN && signal == G_REPLY_ERROR -> state = S_ENDING
	:: state == S_OPENED && signal == G_GET -> state = S_BUSY
	:: state == S_OPENED && signal == G_CHECKCONF -> state = S_BUSY
	:: state == S_BUSY && signal == G_REPLY -> state = S_OPENED
	:: state == S_BUSY && signal == G_REPLY_ERROR -> state = S_OPENED
	:: state == S_OPENED && signal == G_CLOSE -> state = S_BUSY_CLOSE
	:: state == S_BUSY_CLOSE && signal == G_REPLY -> state = S_ENDING
	:: state == S_BUSY_CLOSE && signal == G_REPLY_ERROR -> state = S_ENDING
	:: state == S_READY && signal == G_TERMINATE -> state = S_CLOSING
	:: state == S_OPENED && signal == G_TERMINATE -> state = S_CLOSING
	:: state == S_ENDING && signal == G_TERMINATE -> state = S_CLOSING
	:: state == S_IDLE && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_READY && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_OPENED && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_ENDING && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_CLOSING && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_CLOSED && signal == G_HOST_EOF -> state = S_CLOSED
	:: state == S_IDLE && signal == G_CHILD_EOF -> state = S_CLOSED
	:: state == S_READY && signal == G_CHILD_EOF -> state = S_CLOSED
	:: state == S_OPENED && signal == G_CHILD_EOF -> state = S_CLOSED
	:: state == S_ENDING && signal == G_CHILD_EOF -> state = S_CLOSED
	:: state == S_CLOSING && signal == G_CHILD_EOF -> state = S_CLOSED
	:: state == S_CLOSED && signal == G_CHILD_EOF -> state = S_CLOSED
	:: else -> state = S_FAILED
	fi
}
