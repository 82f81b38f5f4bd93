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
//	DELETE /nodes/{id}  → 204 | 404
func adminHandler(t *tailnet) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /keys", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			authKey
			Key string `json:"key"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := t.addKey(body.Key, body.authKey); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
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
	mux.HandleFunc("DELETE /nodes/{id}", func(w http.ResponseWriter, r *http.Request) {
		found(w, t.removeByStableID(r.PathValue("id")))
	})
	return mux
}

func serveNodes(w http.ResponseWriter, r *http.Request, t *tailnet) {
	after := int64(-1)
	if text := r.FormValue("after"); text != "" {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			http.Error(w, "after: not a number", http.StatusBadRequest)
			return
		}
		after = value
	}
	deadline := time.After(maxWait)
	for {
		list, version, changed := t.devices()
		waited := false
		if version <= after {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			case <-deadline:
				waited = true
			}
		}
		if version > after || waited {
			writeJSON(w, map[string]any{"version": version, "nodes": list})
			return
		}
	}
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
