package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cloud.google.com/go/datastore"
	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	emulated "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock/datastorelock"
)

// database is the name of the database, which the API and gcloud want in full.
func (s *Setup) database() string {
	if s.Database == "" {
		return "(default)"
	}
	return s.Database
}

// datastore: can entities be read, outside of a transaction and in one?
func (s *session) datastore(ctx context.Context) Finding {
	l := look("a read of a key that isn't there, and the same in a read-only transaction, in the database " + s.database())
	key := datastore.NameKey(handlers.LedgerKind, "latchwork-doctor", nil)
	key.Namespace = s.Namespace
	err := s.answers(ctx, s.DatastoreHost)
	if err == nil {
		err = s.Datastore.Get(ctx, key, &datastore.PropertyList{})
	}
	if err == nil || errors.Is(err, datastore.ErrNoSuchEntity) {
		_, err = s.Datastore.RunInTransaction(ctx, func(tx *datastore.Transaction) error {
			err := tx.Get(key, &datastore.PropertyList{})
			if errors.Is(err, datastore.ErrNoSuchEntity) {
				return nil
			}
			return err
		}, datastore.ReadOnly, datastore.MaxAttempts(1))
	}
	if err == nil {
		return l.ok("both are answered")
	}
	remedy := fmt.Sprintf("gcloud firestore databases describe --database=%s --project=%s", quote(s.database()), quote(s.Project))
	switch code := status.Code(err); {
	case s.emulated():
		remedy = "latchwork emulator"
	case code == codes.NotFound:
		remedy = fmt.Sprintf("gcloud firestore databases create --database=%s --project=%s --type=datastore-mode --location=%s", quote(s.database()), quote(s.Project), quote(s.Location))
	case code == codes.PermissionDenied:
		remedy = whoRuns + fmt.Sprintf("gcloud services enable datastore.googleapis.com --project=%s\ngcloud projects add-iam-policy-binding %s --member=\"$MEMBER\" --role=roles/datastore.user", quote(s.Project), quote(s.Project))
	}
	return l.fail(remedy, "%s", s.words(err))
}

// indexes: is each composite index of index.yaml there, and built?
func (s *session) indexes(ctx context.Context) Finding {
	l := look(s.IndexFile.Name + " and the composite indexes of " + s.Project)
	switch {
	case s.IndexFile.Err == nil && s.IndexFile.Text == nil:
		return look("index.yaml").skip("there is no index.yaml here; --indexes names one")
	case s.Database != "" && s.Database != "(default)":
		return l.skip("the API lists the indexes of the default database only, and this is %s", s.Database)
	}
	wanted, err := emulated.ParseIndexYAML(s.IndexFile.Text)
	if s.IndexFile.Err != nil {
		err = s.IndexFile.Err
	}
	list := "gcloud datastore indexes list --project=" + quote(s.Project)
	if err != nil {
		return l.fail("latchwork emulator --indexes="+quote(s.IndexFile.Name)+"  # reads it again", "%v", err)
	}
	have := map[string]adminpb.Index_State{}
	for it := s.Admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: s.Project}); ; {
		x, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if status.Code(err) == codes.PermissionDenied {
			return l.warn(whoRuns+fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member=\"$MEMBER\" --role=roles/datastore.viewer", quote(s.Project)), "it can't be told: %s", s.words(err))
		}
		if err != nil {
			return l.fail(list, "list the indexes: %s", s.words(err))
		}
		have[indexWords(x)] = x.GetState()
	}
	var missing, broken, building []string
	for _, x := range wanted {
		name := indexWords(x)
		switch state, there := have[name]; {
		case !there, state == adminpb.Index_DELETING:
			missing = append(missing, name)
		case state == adminpb.Index_ERROR:
			broken = append(broken, name)
		case state == adminpb.Index_CREATING:
			building = append(building, name)
		}
	}
	create := fmt.Sprintf("gcloud datastore indexes create %s --project=%s", quote(s.IndexFile.Name), quote(s.Project))
	if s.emulated() {
		create = "latchwork emulator --indexes=" + quote(s.IndexFile.Name)
	}
	switch {
	case len(broken) > 0:
		return l.fail(fmt.Sprintf("gcloud datastore indexes cleanup %s --project=%s\n%s", quote(s.IndexFile.Name), quote(s.Project), create),
			"could not be built: %s", strings.Join(broken, ", "))
	case len(missing) > 0:
		return l.fail(create, "missing, so that queries that need them fail: %s", strings.Join(missing, ", "))
	case len(building) > 0:
		return l.warn(list, "being built, and of no use until then: %s", strings.Join(building, ", "))
	}
	return l.ok("all that the file names are there, and built: %d", len(wanted))
}

// indexWords is an index in one line, the same for the same index.
func indexWords(x *adminpb.Index) string {
	var parts []string
	if x.GetAncestor() == adminpb.Index_ALL_ANCESTORS {
		parts = append(parts, "ancestor")
	}
	for _, p := range x.GetProperties() {
		name := p.GetName()
		if p.GetDirection() == adminpb.Index_DESCENDING {
			name += " desc"
		}
		parts = append(parts, name)
	}
	return x.GetKind() + " (" + strings.Join(parts, ", ") + ")"
}

// ttl: are rows of the ledger, and locks in Datastore, deleted when their time is
// over?
func (s *session) ttl(ctx context.Context) Finding {
	kinds := []string{handlers.LedgerKind}
	if s.LockStore == LocksDatastore {
		kinds = append(kinds, datastorelock.Kind)
	}
	l := look("TTL policies by ExpireAt in the database " + s.database() + ": " + strings.Join(kinds, ", "))
	if s.emulated() {
		return l.skip("an emulator has no TTL policies: the local worker's sweeper deletes what has expired, and whether the cloud does only the cloud can tell")
	}
	if s.Google == nil {
		return l.skip("there are no credentials for Google's APIs")
	}
	var found []string
	for _, kind := range kinds {
		at := fmt.Sprintf("--collection-group=%s --database=%s --project=%s", kind, quote(s.database()), quote(s.Project))
		enable := "gcloud firestore fields ttls update ExpireAt " + at + " --enable-ttl"
		var field struct{ TTLConfig *struct{ State string } }
		err := s.ask(ctx, http.MethodGet, fmt.Sprintf("%s/v1/projects/%s/databases/%s/collectionGroups/%s/fields/ExpireAt",
			s.APIs.firestore(), url.PathEscape(s.Project), url.PathEscape(s.database()), kind), nil, &field)
		if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
			err = nil // no setting of the field differs from the default
		}
		switch {
		case err != nil:
			return s.untold(l, err, s.APIs.firestore(), "gcloud firestore fields ttls list "+at)
		case field.TTLConfig == nil:
			return l.warn(enable, "there is none of %s, which grows for ever", kind)
		case field.TTLConfig.State == "NEEDS_REPAIR":
			return l.warn(enable, "that of %s could not be applied to all rows that are there", kind)
		}
		found = append(found, kind+" has one ("+strings.ToLower(field.TTLConfig.State)+")")
	}
	return l.ok("%s", strings.Join(found, ", "))
}
