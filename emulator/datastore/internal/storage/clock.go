package storage

// now is the clock in Datastore's unit.
func (s *Store) now() int64 { return s.clock.Now().UnixMicro() }

// TimeOf is the time (µs) that a View speaks for. For the live state it is to be
// called inside Read; later commits get later versions then.
func (db *DB) TimeOf(v View) int64 {
	if v.Time != 0 {
		return v.Time
	}
	t := max(db.store.now(), v.Version)
	db.spokeFor(t)
	return t
}

// ReadTime is the time (µs) that a strong read made now speaks for.
func (db *DB) ReadTime() (t int64) {
	db.Read(func(v View) { t = db.TimeOf(v) })
	return t
}

// spokeFor notes that somebody was told the state at a time (µs). The database
// must be locked at least for reading.
func (db *DB) spokeFor(t int64) {
	for {
		told := db.told.Load()
		if t <= told || db.told.CompareAndSwap(told, t) {
			return
		}
	}
}

// nextVersion is the version of the next commit: after every other one, and
// after every time for which a state was shown.
func (db *DB) nextVersion() int64 { return max(db.store.now(), db.version+1, db.told.Load()+1) }
