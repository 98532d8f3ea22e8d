// SPDX-License-Identifier: Apache-2.0
// tcp_sent: what a connection has in flight: one record for each segment, and the state of loss
// detection and congestion control that means something only while there are any.
//
// What for: RACK-TLP (RFC 8985) wants to know of every segment when it left last; the SACK
// scoreboard (RFC 2018, 6675), recovery (RFC 6937, 5681, 6582) and undo (RFC 3522, 4015, 2883)
// mark the same records. Who calls it: tcp_ack.c, tcp_out.c, tcp_timer.c and each other; the owning
// worker. Memory: records and flights from two pools made at boot; the first segment that leaves
// takes a flight, the acknowledgement of the last one gives it back, so an idle connection holds
// neither. What can go wrong: no record: the segment stays unsent and is tried again
// (TCP_NO_RECORD); below an eighth of the pool a connection gets no more than TCP_SENT_FEW, below a
// sixteenth one to a client only that of its flight.
//
// A record is in the list by sequence number, and in one of three conditions: flying (in `flying`,
// by the time it left last), lost (in `lost`, to be sent again in that order), or reported by SACK
// (in neither). Neighbours that are both reported become one record, so the list is never much
// longer than what flies, and a walk is bounded by TCP_SACK_STEPS whatever the peer reports.
#pragma once

#include "dataplane/tcp_conn.h"

#define TCP_SENT_MAGIC 0x544e4553u
#define TCP_FLIGHT_MAGIC 0x54474c46u
#define TCP_SENT_MAX 8192u  // records of one connection
#define TCP_SENT_FEW 16u    // the same when the pool is low
#define TCP_SACK_STEPS 512u // records looked at for the SACK blocks of one segment

enum tcp_sent_flag {
	TSF_LOST = 1u << 0,
	TSF_SACKED = 1u << 1,
	TSF_AGAIN = 1u << 2, // sent more than once: its RTT says little (Karn)
};

struct tcp_sent {
	uint32_t magic;
	uint32_t seq, end; // the FIN takes a number too
	uint32_t flags;
	struct tcp_sent *prev, *next; // by sequence number
	struct list_node order;       // in `flying` or `lost`
	uint64_t sent_us;             // when it left last
};
static_assert(sizeof(struct tcp_sent) <= CACHE_LINE, "one line");

enum tcp_recovery {
	TCPR_OPEN,
	TCPR_FAST, // fast recovery, up to `recover`
	TCPR_LOSS, // after a timeout, up to `recover`
};

struct tcp_flight {
	// --- every segment and every ACK
	uint32_t magic;
	uint8_t recovery;
	bool is_cwnd_limited;                 // the congestion window held us back in this round
	bool is_reo;                          // fast_ms is RACK's timer; else the tail loss probe's
	bool is_tlp_again;                    // the probe was a repetition
	struct tcp_sent *first, *last, *hint; // hint: where the last SACK block was
	struct list flying, lost;
	// --- RACK
	uint64_t rack_us;  // when the newest segment that has arrived had left ..
	uint32_t rack_end; // .. and where it ended
	uint32_t rack_rtt_us;
	uint32_t count;  // records
	uint32_t pipe;   // bytes that fly
	uint32_t sacked; // bytes reported by SACK; without SACK, what duplicate ACKs stand for
	uint32_t fack;   // end of the highest byte that is known to have arrived
	uint32_t dsack_round;
	uint32_t tlp_end; // an outstanding probe ends here
	bool has_tlp, has_dsack_round, is_undoable;
	uint8_t css_rounds;          // HyStart++: of conservative slow start, 0: not in it
	uint32_t used_max, used_end; // the most that flew in the round that ends at used_end
	uint32_t undo_retrans;       // repetitions that no D-SACK has shown to be unnecessary
	uint32_t cubic_ms;           // when CUBIC's epoch began, 0: none has
	bool has_undo_ts;
	uint8_t round_samples;
	// --- HyStart++
	uint32_t round_end, round_rtt_us, last_rtt_us, css_rtt_us;
	// --- recovery
	uint32_t prr_delivered, prr_out, prr_from;
	uint32_t undo_ts;  // our timestamp when the first repetition left
	uint32_t undo_una; // snd_una when the window was reduced
	uint32_t prior_cwnd, prior_ssthresh, prior_w_max;
	// --- CUBIC
	uint32_t cubic_k_ms, cubic_origin, cubic_est, cubic_target, cubic_target_ms;
	uint32_t cubic_rem, cubic_est_rem; // fractions that were not added yet
	// --- most flights have one segment only: no other pool for that
	struct tcp_sent one;
};

struct tcp_acked { // what one segment from the peer tells about ours
	const struct tcp_seg *seg;
	uint32_t una;         // before
	uint32_t delivered;   // bytes newly known to have arrived, by the number or by a block
	uint32_t rtt_us;      // of the oldest segment acknowledged, UINT32_MAX: none
	uint32_t last_rtt_us; // of the newest one that arrived
	uint32_t dsack_start, dsack_end;
	bool has_dsack, has_sack; // has_sack: a block with news
	bool is_duplicate;        // an ACK without progress, from a peer without SACK
	bool was_again;           // something acknowledged had been sent more than once
};

// tcp_sent.c
bool tcp_sent_can_add(const struct tcp_conn *c);
void tcp_sent_add(struct tcp_conn *c, uint32_t seq, uint32_t end); // [seq, end) has left just now
void tcp_sent_again(struct tcp_conn *c, struct tcp_sent *r);       // so has this, once more
// The record keeps the first `len` bytes; false: no record for the rest.
must_use bool tcp_sent_split(struct tcp_conn *c, struct tcp_sent *r, uint32_t len);
void tcp_sent_join(struct tcp_conn *c, struct tcp_sent *r); // with the lost one that follows
void tcp_sent_lost(struct tcp_flight *f, struct tcp_sent *r);
void tcp_sent_found(struct tcp_flight *f); // what was lost flies after all
void tcp_sent_acked(struct tcp_conn *c, uint32_t una, struct tcp_acked *a);
void tcp_sent_sacked(struct tcp_conn *c, struct tcp_acked *a); // the segment's SACK blocks
void tcp_sent_forget_sacks(struct tcp_flight *f);              // the peer has dropped what it had
// An ACK of all that flies, which is one segment that was sent once: nothing to find out but the
// round trip. False: it is something else.
bool tcp_sent_plain(struct tcp_conn *c, struct tcp_acked *a);
void tcp_sent_settle(struct tcp_conn *c); // gives the flight back when nothing is in it
void tcp_sent_clear(struct tcp_conn *c);  // the connection ends

// tcp_rack.c
void tcp_rack_min_rtt(struct tcp_conn *c, uint32_t us);
void tcp_rack_arrived(struct tcp_conn *c, const struct tcp_sent *r, struct tcp_acked *a);
void tcp_rack_detect(struct tcp_conn *c);  // marks what must be lost, arms the timer for the rest
void tcp_rack_timeout(struct tcp_conn *c); // after an RTO
void tcp_rack_dsack(struct tcp_conn *c, const struct tcp_acked *a);
void tcp_rack_recovered(struct tcp_conn *c);
void tcp_rack_probe_acked(struct tcp_conn *c, const struct tcp_acked *a);
void tcp_rack_arm_probe(struct tcp_conn *c);
void tcp_rack_fire(struct tcp_conn *c); // fast_ms is due

// tcp_recover.c
void tcp_recover_input(struct tcp_conn *c, struct tcp_acked *a);
void tcp_recover_losses(struct tcp_conn *c); // RACK's timer has marked some
void tcp_recover_timeout(struct tcp_conn *c);
void tcp_recover_tail(struct tcp_conn *c); // a probe has repaired a loss
// Segments larger than the path carries now are lost, by no congestion's fault; c->mss is new.
void tcp_recover_mtu(struct tcp_conn *c);

// tcp_cubic.c
void tcp_cubic_grow(struct tcp_conn *c, const struct tcp_acked *a);
uint32_t tcp_cubic_reduced(struct tcp_conn *c); // ssthresh after a loss; notes the loss
void tcp_cubic_reset(struct tcp_flight *f);     // the curve begins anew with the next ACK

static inline uint32_t
tcp_sent_len(const struct tcp_sent *r)
{
	return r->end - r->seq;
}

// Bytes that fly for the congestion window's sake.
static inline uint32_t
tcp_pipe(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;

	if (f == NULL)
		return 0;
	if (c->flags & TF_SACK)
		return f->pipe;
	return f->pipe - MIN(f->pipe, f->sacked);
}
