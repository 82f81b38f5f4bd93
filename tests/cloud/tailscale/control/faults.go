package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// fault is one disturbance that was ordered. Its id is the orderer's.
type fault struct {
	ID int `json:"id"`
	// Target is "control" for what nodes ask the control server, "relay" for DERP.
	Target string `json:"target"`
	Method string `json:"method"`
	// Path as nodes ask for it, inside or outside of Noise: /key, /ts2021, /machine/register, /machine/map; "" is any.
	Path string `json:"path"`
	// Times is how many requests it hits, 0 for any number; Skip how many it lets through before.
	Times  int    `json:"times"`
	Skip   int    `json:"skip"`
	Hits   int    `json:"hits"`
	Effect effect `json:"effect"`

	removed chan struct{}
}

type effect struct {
	// Kind is answer, drop, delay, down or taken.
	Kind string `json:"kind"`
	// When is "before" or "after" the request was carried out, for answer and drop.
	When    string            `json:"when"`
	Status  int               `json:"status"`
	Message string            `json:"message"`
	Headers map[string]string `json:"headers"`
	MS      float64           `json:"ms"`
}

// faults are kept in the order in which they were ordered.
type faults struct {
	// changed is told of hits, never by the goroutine that takes: that one may hold the tailnet's lock.
	changed func()

	mu   sync.Mutex
	list []*fault
	// gates that "down" shuts, by target.
	gates map[string]*gate
}

func newFaults(changed func()) *faults {
	return &faults{changed: changed, gates: map[string]*gate{}}
}

// guard lets faults of kind down shut the gate.
func (f *faults) guard(target string, g *gate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gates[target] = g
}

func (f *faults) add(order fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gates[order.Target] == nil {
		return fmt.Errorf("no target %q", order.Target)
	}
	order.removed = make(chan struct{})
	f.list = append(f.list, &order)
	f.shutLocked()
	return nil
}

// remove reports whether there was such a fault. What it delays goes on.
func (f *faults) remove(id int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(fault *fault) bool { return fault.ID == id })
	if i < 0 {
		return false
	}
	close(f.list[i].removed)
	f.list = slices.Delete(f.list, i, i+1)
	f.shutLocked()
	return true
}

func (f *faults) shutLocked() {
	for target, g := range f.gates {
		g.set(slices.ContainsFunc(f.list, func(fault *fault) bool {
			return fault.Target == target && fault.Effect.Kind == "down"
		}))
	}
}

func (f *faults) all() []fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []fault{}
	for _, fault := range f.list {
		list = append(list, *fault)
	}
	slices.SortFunc(list, func(a, b fault) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// hit counts a connection that a shut gate refused or cut.
func (f *faults) hit(target string) {
	f.mu.Lock()
	for _, fault := range f.list {
		if fault.Target == target && fault.Effect.Kind == "down" {
			fault.Hits++
		}
	}
	f.mu.Unlock()
	go f.changed()
}

// take spends one hit of each fault of one of these kinds that meets a request to the control server, up to the
// first that is no delay.
func (f *faults) take(method, path string, kinds ...string) (hit []*fault) {
	f.mu.Lock()
	for _, fault := range f.list {
		if fault.Target != "control" || !slices.Contains(kinds, fault.Effect.Kind) || !fault.meets(method, path) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		fault.Hits++
		hit = append(hit, fault)
		if fault.Effect.Kind != "delay" {
			break
		}
	}
	f.mu.Unlock()
	if len(hit) > 0 {
		go f.changed()
	}
	return hit
}

func (f *fault) meets(method, path string) bool {
	spent := f.Times > 0 && f.Hits >= f.Times
	return !spent && (f.Method == "" || f.Method == method) && (f.Path == "" || f.Path == path)
}

// wait ends after the delay, when the fault is removed, or with the request.
func (f *fault) wait(ctx context.Context) {
	timer := time.NewTimer(time.Duration(f.Effect.MS * float64(time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.removed:
	case <-ctx.Done():
	}
}

// disturbed applies faults to requests. conn gives the connection to cut for a drop.
func (f *faults) disturbed(next http.Handler, conn func(http.ResponseWriter) net.Conn) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, fault := range f.take(r.Method, r.URL.Path, "answer", "drop", "delay") {
			if fault.Effect.Kind == "delay" {
				fault.wait(r.Context())
				continue
			}
			if fault.Effect.When == "after" {
				next.ServeHTTP(&discard{header: http.Header{}}, r)
			}
			if fault.Effect.Kind == "drop" {
				if c := conn(w); c != nil {
					c.Close()
				}
				return
			}
			for name, value := range fault.Effect.Headers {
				w.Header().Set(name, value)
			}
			http.Error(w, fault.Effect.Message, fault.Effect.Status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hijacked takes a plain HTTP/1 request's connection over; nil when that cannot be done.
func hijacked(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	return conn
}

// discard is where an answer goes that nobody shall see.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}
