package service

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// noPolicy is the etag of a resource that has no policy, Google's.
var noPolicy = []byte{0, 0x20, 1}

const maxPolicy = 64 << 10 // bytes

func policyKey(queue string) string { return "policy\n" + queue }

// GetIamPolicy returns the policy of a queue, with an etag.
func (s *Service) GetIamPolicy(r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	if _, err := s.GetQueue(r.GetResource(), false); err != nil {
		return nil, err
	}
	if v := r.GetOptions().GetRequestedPolicyVersion(); !validPolicyVersion(v) {
		return nil, Invalid("GetPolicyOptions.requestedPolicyVersion must be 0, 1 or 3, not %d.", v)
	}
	return s.policy(r.GetResource())
}

func validPolicyVersion(v int32) bool { return v == 0 || v == 1 || v == 3 }

func (s *Service) policy(queue string) (*iampb.Policy, error) {
	kept := s.engine.Kept(policyKey(queue))
	if kept == nil {
		return &iampb.Policy{Etag: bytes.Clone(noPolicy)}, nil
	}
	p := new(iampb.Policy)
	return p, proto.Unmarshal(kept, p)
}

// SetIamPolicy replaces the policy of a queue, or the part that the update mask
// names. An etag must be that of the present policy.
func (s *Service) SetIamPolicy(r *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	queue := r.GetResource()
	wanted := r.GetPolicy()
	if wanted == nil {
		wanted = new(iampb.Policy)
	}
	update, err := NewUpdate(wanted, r.GetUpdateMask(), "bindings", "audit_configs", "version")
	if err != nil {
		return nil, err
	}
	defer s.facts.lock(queue)()
	if _, err := s.GetQueue(queue, false); err != nil { // not before: a deletion waits for the lock
		return nil, err
	}
	p, err := s.policy(queue)
	if err != nil {
		return nil, err
	}
	if etag := wanted.GetEtag(); len(etag) > 0 && !bytes.Equal(etag, p.GetEtag()) {
		return nil, status.Error(codes.Aborted, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.")
	}
	update.Apply(p)
	if err := checkPolicy(p); err != nil {
		return nil, err
	}
	p.Etag = make([]byte, 8)
	_, _ = rand.Read(p.Etag) // never fails
	kept, err := proto.Marshal(p)
	if err != nil {
		return nil, Invalid("The policy can't be stored: %v", err)
	}
	return p, toStatus(s.engine.Keep(policyKey(queue), kept), verbOther)
}

func checkPolicy(p *iampb.Policy) error {
	if !validPolicyVersion(p.GetVersion()) {
		return Invalid("Policy.version must be 0, 1 or 3, not %d.", p.GetVersion())
	}
	if size := proto.Size(p); size > maxPolicy {
		return Invalid("The policy has %d bytes; the most is %d.", size, maxPolicy)
	}
	for _, b := range p.GetBindings() {
		if b.GetRole() == "" {
			return Invalid("Binding.role is required.")
		}
		if b.GetCondition() != nil && p.GetVersion() != 3 {
			return Invalid("Policy.version must be 3 for conditions in bindings, not %d.", p.GetVersion())
		}
		for _, member := range b.GetMembers() {
			if kind, who, _ := strings.Cut(member, ":"); member != "allUsers" && member != "allAuthenticatedUsers" && (kind == "" || who == "") {
				return Invalid("Member %q must be allUsers, allAuthenticatedUsers, or a type, a colon and a name.", member)
			}
		}
	}
	return nil
}

// TestIamPermissions grants everything on a queue that is there, and nothing on
// another.
func (s *Service) TestIamPermissions(r *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	if !validQueue(r.GetResource()) {
		return nil, errQueueName()
	}
	for _, permission := range r.GetPermissions() {
		if permission == "" || strings.Contains(permission, "*") {
			return nil, Invalid("Permission %q is not valid: wildcards can't be tested.", permission)
		}
	}
	granted := new(iampb.TestIamPermissionsResponse)
	_, err := s.GetQueue(r.GetResource(), false)
	if err == nil {
		granted.Permissions = slices.Clone(r.GetPermissions())
	} else if status.Code(err) != codes.NotFound {
		return nil, err
	}
	return granted, nil
}

func (s *Service) dropPolicy(queue string) error {
	defer s.facts.lock(queue)()
	if s.engine.Kept(policyKey(queue)) == nil {
		return nil
	}
	return s.engine.Keep(policyKey(queue), nil)
}
