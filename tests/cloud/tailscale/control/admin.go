package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// maxWait bounds a long poll, below the time-out that HTTP clients commonly have.
const maxWait = 25 * time.Second

// adminHandler serves what stands behind Tailscale's API:
//
//	POST   /keys        {key,id,tags,expires,reusable,ephemeral,preauthorized} → 204
//	GET    /keys        → {keys:[…]}       (without the keys' text)
//	DELETE /keys/{id}   → 204 | 404
//	GET    /nodes       → {version,nodes:[…]}; ?after=V waits until the list is newer than V, at most 25 s
//	PATCH  /nodes/{id}  change → 204 | 404 | 409 with the reason
//	DELETE /nodes/{id}  ?actor= → 204 | 404
//	GET    /events      → {events:[…]}; ?after=N waits until there is one with a higher number, at most 25 s
//	POST   /clock       {advanceMs} → 204
//	POST   /faults      fault → 204
//	GET    /faults      → {faults:[…]}
//	DELETE /faults/{id} → 204 | 404
func adminHandler(t *tailnet) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /keys", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			authKey
			Key string `json:"key"`
		}
		if readJSON(w, r, &body) {
			done(w, t.addKey(body.Key, body.authKey))
		}
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		keys := []authKey{}
		for _, k := range t.keys {
			keys = append(keys, *k)
		}
		t.mu.Unlock()
		writeJSON(w, map[string]any{"keys": keys})
	})
	mux.HandleFunc("DELETE /keys/{id}", func(w http.ResponseWriter, r *http.Request) {
		found(w, t.revokeKey(r.PathValue("id")))
	})
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, r *http.Request) { serveNodes(w, r, t) })
	mux.HandleFunc("PATCH /nodes/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body change
		if !readJSON(w, r, &body) {
			return
		}
		if known, err := t.changeDevice(r.PathValue("id"), body); known {
			done(w, err)
		} else {
			found(w, false)
		}
	})
	mux.HandleFunc("DELETE /nodes/{id}", func(w http.ResponseWriter, r *http.Request) {
		found(w, t.removeByStableID(r.PathValue("id"), r.FormValue("actor")))
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { serveEvents(w, r, t) })
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			AdvanceMs float64 `json:"advanceMs"`
		}
		if readJSON(w, r, &body) {
			t.advance(time.Duration(body.AdvanceMs * float64(time.Millisecond)))
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var body fault
		if readJSON(w, r, &body) {
			done(w, t.faults.add(body))
		}
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"faults": t.faults.all()})
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		found(w, err == nil && t.faults.remove(id))
	})
	return mux
}

func serveNodes(w http.ResponseWriter, r *http.Request, t *tailnet) {
	after, ok := number(w, r, "after", -1)
	if !ok {
		return
	}
	deadline := time.After(maxWait)
	for waited := false; ; {
		list, version, changed := t.devices()
		if version > int64(after) || waited {
			writeJSON(w, map[string]any{"version": version, "nodes": list})
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-deadline:
			waited = true
		}
	}
}

func serveEvents(w http.ResponseWriter, r *http.Request, t *tailnet) {
	after, ok := number(w, r, "after", 0)
	if !ok {
		return
	}
	deadline := time.After(maxWait)
	for waited := false; ; {
		list, changed := t.eventsAfter(after)
		if len(list) > 0 || waited {
			writeJSON(w, map[string]any{"events": list})
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-deadline:
			waited = true
		}
	}
}

// number reads a query parameter; on failure it has answered.
func number(w http.ResponseWriter, r *http.Request, name string, absent int) (value int, ok bool) {
	text := r.FormValue(name)
	if text == "" {
		return absent, true
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		http.Error(w, name+": not a number", http.StatusBadRequest)
	}
	return value, err == nil
}

func readJSON(w http.ResponseWriter, r *http.Request, value any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func found(w http.ResponseWriter, ok bool) {
	if ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Error(w, "not found", http.StatusNotFound)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
