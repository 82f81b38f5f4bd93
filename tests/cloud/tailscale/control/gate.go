package main

import (
	"net"
	"sync"
)

// gate is a listener that can be shut: then it cuts the connections that stand and resets each new one. It keeps the
// port meanwhile, because a freed one could be somebody else's when it opens again; clients treat a reset as they
// treat a refusal.
type gate struct {
	net.Listener
	// cut is told of each connection that was cut or reset.
	cut func()

	mu    sync.Mutex
	shut  bool
	conns map[*gatedConn]struct{}
}

func newGate(listener net.Listener, cut func()) *gate {
	return &gate{Listener: listener, cut: cut, conns: map[*gatedConn]struct{}{}}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if !g.shut {
			gated := &gatedConn{Conn: conn, gate: g}
			g.conns[gated] = struct{}{}
			g.mu.Unlock()
			return gated, nil
		}
		g.mu.Unlock()
		reset(conn)
		g.cut()
	}
}

// set shuts or opens the gate.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	changed := g.shut != shut
	g.shut = shut
	var standing []net.Conn
	if shut && changed {
		for conn := range g.conns {
			standing = append(standing, conn.Conn)
		}
	}
	g.mu.Unlock()
	for _, conn := range standing {
		reset(conn)
		// Not at once: the caller holds the faults' lock, which counting takes.
		go g.cut()
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
