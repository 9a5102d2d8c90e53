package protocol

import "github.com/latchwork/latchwork/emulator/datastore/internal/storage"

// Snapshot is the present state of a database, for keeping: what an export has.
func (s *Service) Snapshot(project, id string) (storage.View, error) {
	d, err := s.open(project, id)
	if err != nil {
		return storage.View{}, err
	}
	return d.Snapshot(), nil
}

// CheckProject checks the identifier of a project, as every request is checked.
func (s *Service) CheckProject(id string) error { return partition{project: id}.check() }
