package apiserver

import "time"

// longest is what memcache takes for a relative time, in seconds.
const longest = 30 * 365 * 24 * 60 * 60

func (s *Server) get(req getRequest) getResponse {
	var resp getResponse
	for _, key := range req.Key {
		e := s.live(req.NameSpace, key)
		if e == nil {
			s.misses++
			continue
		}
		s.hits++
		item := getItem{Key: key, Value: e.value, Flags: e.flags}
		if req.ForCas {
			item.CasID = e.cas
		}
		resp.Item = append(resp.Item, item)
	}
	return resp
}

func (s *Server) set(req setRequest) setResponse {
	var resp setResponse
	for _, item := range req.Item {
		resp.SetStatus = append(resp.SetStatus, s.setOne(req.NameSpace, item))
	}
	return resp
}

func (s *Server) setOne(namespace string, item setItem) string {
	e := s.live(namespace, item.Key)
	switch item.SetPolicy {
	case "ADD":
		if e != nil {
			return "NOT_STORED"
		}
	case "REPLACE":
		if e == nil {
			return "NOT_STORED"
		}
	case "CAS":
		switch {
		case !item.ForCas:
			return "ERROR"
		case e == nil:
			return "NOT_STORED"
		case e.cas != item.CasID:
			return "EXISTS"
		}
	}
	s.cas++
	s.entries[name(namespace, item.Key)] = &entry{value: item.Value, flags: item.Flags, cas: s.cas, expires: s.expiry(item.ExpirationTime)}
	return "STORED"
}

// expiry counts whole seconds from a whole second, as memcached does: an entry
// of N lives between N-1 and N seconds.
func (s *Server) expiry(seconds uint32) time.Time {
	switch {
	case seconds == 0:
		return time.Time{}
	case seconds >= longest:
		return time.Unix(int64(seconds), 0)
	default:
		return time.Unix(s.now.Unix()+int64(seconds), 0)
	}
}

func (s *Server) delete(req deleteRequest) deleteResponse {
	var resp deleteResponse
	for _, item := range req.Item {
		status := "NOT_FOUND"
		if s.live(req.NameSpace, item.Key) != nil {
			status = "DELETED"
			delete(s.entries, name(req.NameSpace, item.Key))
		}
		resp.DeleteStatus = append(resp.DeleteStatus, status)
	}
	return resp
}

func (s *Server) stats(struct{}) statsResponse {
	total := stats{Hits: s.hits, Misses: s.misses}
	for _, e := range s.entries {
		total.Items++
		total.Bytes += uint64(len(e.value))
	}
	return statsResponse{total}
}

// live returns what has not run out.
func (s *Server) live(namespace string, key []byte) *entry {
	e := s.entries[name(namespace, key)]
	if e != nil && !e.expires.IsZero() && !s.now.Before(e.expires) {
		delete(s.entries, name(namespace, key))
		return nil
	}
	return e
}

// name joins a namespace, which has no byte 0, and a key.
func name(namespace string, key []byte) string { return namespace + "\x00" + string(key) }
