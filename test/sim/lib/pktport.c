// SPDX-License-Identifier: Apache-2.0
// pktport: AF_PACKET with one system call a burst. A full transmit burst is sent at once, so tx_get
// never fails.

#include "test/sim/lib/pktport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SOCKET_BYTES (16 << 20) // a burst that comes while we are not scheduled must fit

static uint16_t
port_rx(struct port *port, struct frame *f, uint16_t most)
{
	struct pktport *p = port->priv;
	int got = recvmmsg(p->fd, p->rx.msg, MIN(most, PORT_BURST), MSG_DONTWAIT, NULL);
	uint16_t n = 0;

	for (int i = 0; i < got; i++) {
		uint32_t len = p->rx.msg[i].msg_len;
		if (len > PORT_FRAME_SIZE)
			p->oversized++;
		else
			f[n++] = (struct frame){.data = p->rx.data[i], .len = len};
	}
	return n;
}

static void
port_rx_free(struct port *port, struct frame *f)
{
	(void)port;
	f->data = NULL;
}

static void
burst_send(struct pktport *p)
{
	uint32_t done = 0;

	while (done < p->tx_count) {
		int n = sendmmsg(p->fd, p->tx.msg + done, p->tx_count - done, 0);
		if (n <= 0) { // as a NIC does: the rest is gone
			p->dropped += p->tx_count - done;
			break;
		}
		done += (uint32_t)n;
	}
	p->tx_count = 0;
}

static bool
port_tx_get(struct port *port, struct frame *f)
{
	struct pktport *p = port->priv;

	if (p->tx_count == PORT_BURST)
		burst_send(p);
	*f = (struct frame){.data = p->tx.data[p->tx_count]};
	return true;
}

static void
port_tx_put(struct port *port, struct frame *f)
{
	struct pktport *p = port->priv;

	CHECK(f->data == p->tx.data[p->tx_count]);
	CHECK(f->len <= PORT_FRAME_SIZE);
	p->tx.iov[p->tx_count++].iov_len = f->len;
	f->data = NULL;
}

static uint32_t
port_tx_flush(struct port *port)
{
	struct pktport *p = port->priv;

	burst_send(p);
	uint32_t dropped = p->dropped;
	p->dropped = 0;
	return dropped;
}

static const struct port_ops pktport_ops = {
	.rx = port_rx,
	.rx_free = port_rx_free,
	.tx_get = port_tx_get,
	.tx_put = port_tx_put,
	.tx_flush = port_tx_flush,
};

static void
burst_init(struct pktport_burst *b)
{
	for (uint32_t i = 0; i < PORT_BURST; i++) {
		b->iov[i] = (struct iovec){b->data[i], PKTPORT_FRAME_SIZE};
		b->msg[i].msg_hdr.msg_iov = &b->iov[i];
		b->msg[i].msg_hdr.msg_iovlen = 1;
	}
}

static bool
socket_bind(struct pktport *p, const char *interface)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct ifreq hw = {0};
	const int on = 1, bytes = SOCKET_BYTES;

	to.sll_ifindex = (int)if_nametoindex(interface);
	if (to.sll_ifindex == 0 || strlen(interface) >= sizeof(hw.ifr_name))
		return false;
	memcpy(hw.ifr_name, interface, strlen(interface));
	if (ioctl(p->fd, SIOCGIFHWADDR, &hw) != 0)
		return false;
	memcpy(p->port.mac, hw.ifr_hwaddr.sa_data, sizeof(p->port.mac));
	// Without the right for the larger buffers the usual ones have to do.
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	(void)setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	// Without PACKET_QDISC_BYPASS: frames that leave that way are seen by no tcpdump.
	return setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) == 0 &&
	       bind(p->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

bool
pktport_open(struct pktport *p, const char *interface)
{
	memset(p, 0, sizeof(*p));
	p->port = (struct port){.ops = &pktport_ops, .mtu = 1500, .priv = p};
	burst_init(&p->rx);
	burst_init(&p->tx);
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); // hears nothing before bind
	if (p->fd < 0)
		return false;
	if (socket_bind(p, interface))
		return true;
	int why = errno;
	pktport_close(p);
	errno = why;
	return false;
}

void
pktport_close(struct pktport *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
}
