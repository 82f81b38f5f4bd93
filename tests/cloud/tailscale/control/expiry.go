package main

import "time"

const (
	oneDay = 24 * time.Hour
	// ephemeralLife is the least time after which Tailscale removes an ephemeral node that went silent (30 minutes to
	// 48 hours, says its documentation).
	ephemeralLife = 30 * time.Minute
	// marker is the actor of events that nobody caused.
	marker = "expiring-node-key-marker"
)

// nowLocked is the tailnet's time: the computer's, plus what tests have put on top.
func (t *tailnet) nowLocked() time.Time { return time.Now().Add(t.offset) }

// advance puts the tailnet's clock forward and does what has become due by it.
func (t *tailnet) advance(by time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offset += by
	t.dueLocked()
}

// watchClock does what becomes due as time passes. A second is far below anything that depends on it.
func (t *tailnet) watchClock(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			t.mu.Lock()
			t.dueLocked()
			t.mu.Unlock()
		}
	}
}

// dueLocked warns of node keys that end within a day, ends those that are over, and forgets silent ephemeral nodes.
func (t *tailnet) dueLocked() {
	now := t.nowLocked()
	for _, n := range t.nodes {
		if n.ephemeral && !n.online() && now.Sub(n.lastSeen) >= ephemeralLife {
			t.removeLocked(n, string(n.wire.StableID))
			continue
		}
		if n.keyExpiryDisabled || n.wire.Expired || n.keyExpires.IsZero() {
			continue
		}
		if !n.warned && n.keyExpires.Sub(now) < oneDay {
			n.warned = true
			t.emitLocked("nodeKeyExpiringInOneDay", n, marker)
			t.changedLocked()
		}
		if !now.Before(n.keyExpires) {
			t.expireLocked(n)
			t.emitLocked("nodeKeyExpired", n, marker)
		}
	}
}

// expireLocked ends the node's key: it has to log in again, and its peers stop talking with it.
func (t *tailnet) expireLocked(n *node) {
	n.wire.Expired = true
	if now := t.nowLocked(); n.keyExpires.IsZero() || n.keyExpires.After(now) {
		n.keyExpires = now
	}
	n.wire.KeyExpiry = n.keyExpires
	t.changedLocked()
}

// renewLocked starts a key's life at a join. Tagged nodes have expiry disabled until somebody enables it.
func (t *tailnet) renewLocked(n *node) {
	n.wire.Expired = false
	n.warned = false
	n.keyExpires = t.nowLocked().Add(t.keyLife)
	n.keyExpiryDisabled = len(n.wire.Tags) > 0
	n.showExpiryLocked()
}

func (n *node) showExpiryLocked() {
	n.wire.KeyExpiry = n.keyExpires
	if n.keyExpiryDisabled {
		n.wire.KeyExpiry = time.Time{}
	}
}
