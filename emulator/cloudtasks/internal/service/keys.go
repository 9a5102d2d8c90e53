package service

import (
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
)

const maxKey = 1000 // bytes of a key's name

// GetCmekConfig returns which key encrypts a location: none, or the one that was
// set. Nothing is encrypted here.
func (s *Service) GetCmekConfig(name string) (*cloudtaskspb.CmekConfig, error) {
	if !validCmekConfig(name) {
		return nil, errCmekConfig()
	}
	return &cloudtaskspb.CmekConfig{Name: name, KmsKey: string(s.engine.Kept(name))}, nil
}

// UpdateCmekConfig sets or clears the key.
func (s *Service) UpdateCmekConfig(name string, u *Update) (*cloudtaskspb.CmekConfig, error) {
	defer s.facts.lock(name)()
	c, err := s.GetCmekConfig(name)
	if err != nil {
		return nil, err
	}
	wanted := new(cloudtaskspb.CmekConfig)
	Copy(wanted, u.from)
	(&Update{wanted, u.paths}).Apply(c)
	if key := c.GetKmsKey(); key != "" && !validKey(key) {
		return nil, Invalid(`CmekConfig.kmsKey %q must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/keyRings/<KEY_RING_ID>/cryptoKeys/<KEY_ID>".`, key)
	}
	return c, toStatus(s.engine.Keep(name, []byte(c.GetKmsKey())), verbOther)
}

func validCmekConfig(name string) bool {
	location, ok := strings.CutSuffix(name, "/cmekConfig")
	return ok && ValidLocation(location)
}

func errCmekConfig() error {
	return Invalid(`CMEK config name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/cmekConfig".`)
}

func validKey(key string) bool {
	location, rest, ok := strings.Cut(key, "/keyRings/")
	ring, id, ok2 := strings.Cut(rest, "/cryptoKeys/")
	return ok && ok2 && len(key) <= maxKey && ValidLocation(location) && made(ring, 63, "-_") && made(id, 63, "-_")
}
