package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *server) CreateSecret(ctx context.Context, r *secretmanagerpb.CreateSecretRequest) (*secretmanagerpb.Secret, error) {
	if err := s.authorize(ctx, r.SecretId); err != nil {
		return nil, err
	}
	name := r.Parent + "/secrets/" + r.SecretId
	if s.secrets[name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "Secret [%s] already exists.", name)
	}
	if r.Secret.GetReplication() == nil && !strings.Contains(r.Parent, "/locations/") {
		return nil, status.Error(codes.InvalidArgument, "The replication policy must be set.")
	}
	return s.create(name, r.Secret).about, nil
}

func (s *server) create(name string, about *secretmanagerpb.Secret) *secret {
	about = proto.CloneOf(about)
	about.Name, about.CreateTime, about.Etag = name, timestamppb.Now(), `"`+random(7)+`"`
	s.secrets[name] = &secret{about: about}
	return s.secrets[name]
}

func (s *server) GetSecret(ctx context.Context, r *secretmanagerpb.GetSecretRequest) (*secretmanagerpb.Secret, error) {
	found, err := s.find(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return proto.CloneOf(found.about), nil
}

func (s *server) UpdateSecret(ctx context.Context, r *secretmanagerpb.UpdateSecretRequest) (*secretmanagerpb.Secret, error) {
	found, err := s.find(ctx, r.Secret.GetName())
	if err != nil {
		return nil, err
	}
	if err := sameTag(r.Secret.GetEtag(), found); err != nil {
		return nil, err
	}
	for _, field := range r.UpdateMask.GetPaths() {
		switch field {
		case "labels":
			found.about.Labels = maps.Clone(r.Secret.Labels)
		case "annotations":
			found.about.Annotations = maps.Clone(r.Secret.Annotations)
		case "topics":
			found.about.Topics = r.Secret.Topics
		case "version_aliases":
			found.about.VersionAliases = maps.Clone(r.Secret.VersionAliases)
		default:
			return nil, status.Errorf(codes.InvalidArgument, "The field %q cannot be updated.", field)
		}
	}
	found.about.Etag = `"` + random(7) + `"`
	return proto.CloneOf(found.about), nil
}

func sameTag(etag string, found *secret) error {
	if etag != "" && etag != found.about.Etag {
		return status.Error(codes.Aborted, "The etag does not match.")
	}
	return nil
}

func (s *server) DeleteSecret(ctx context.Context, r *secretmanagerpb.DeleteSecretRequest) (*emptypb.Empty, error) {
	found, err := s.find(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	if err := sameTag(r.Etag, found); err != nil {
		return nil, err
	}
	delete(s.secrets, r.Name)
	return &emptypb.Empty{}, nil
}

func (s *server) AddSecretVersion(ctx context.Context, r *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	found, err := s.find(ctx, r.Parent)
	if err != nil {
		return nil, err
	}
	if r.Payload.DataCrc32C != nil && r.Payload.GetDataCrc32C() != int64(crc32.Checksum(r.Payload.Data, castagnoli)) {
		return nil, status.Error(codes.InvalidArgument, "The checksum does not match.")
	}
	found.add(r.Payload.Data)
	return found.describe(len(found.versions)), nil
}

func (x *secret) add(data []byte) {
	x.versions = append(x.versions, &version{state: secretmanagerpb.SecretVersion_ENABLED, data: slices.Clone(data)})
}

func (x *secret) describe(number int) *secretmanagerpb.SecretVersion {
	return &secretmanagerpb.SecretVersion{Name: fmt.Sprintf("%s/versions/%d", x.about.Name, number), State: x.versions[number-1].state}
}

// version finds the one that name ends with: a number, an alias or latest.
func (s *server) version(ctx context.Context, name string) (*secret, int, error) {
	at := strings.LastIndex(name, "/versions/") // the last: a secret may be called so
	if at < 0 {
		return nil, 0, status.Error(codes.InvalidArgument, "The name is none of a version.")
	}
	parent, id := name[:at], name[at+len("/versions/"):]
	found, err := s.find(ctx, parent)
	if err != nil {
		return nil, 0, err
	}
	number, err := strconv.Atoi(id)
	if alias, ok := found.about.VersionAliases[id]; ok {
		number, err = int(alias), nil
	}
	if id == "latest" {
		number, err = len(found.versions), nil
	}
	if err != nil || number < 1 || number > len(found.versions) {
		return nil, 0, status.Errorf(codes.NotFound, "Secret Version [%s] not found.", name)
	}
	return found, number, nil
}

func (s *server) AccessSecretVersion(ctx context.Context, r *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	found, number, err := s.version(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	v := found.versions[number-1]
	if v.state != secretmanagerpb.SecretVersion_ENABLED {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in %s state.", r.Name, v.state)
	}
	sum := int64(crc32.Checksum(v.data, castagnoli))
	return &secretmanagerpb.AccessSecretVersionResponse{Name: found.describe(number).Name, Payload: &secretmanagerpb.SecretPayload{Data: v.data, DataCrc32C: &sum}}, nil
}

func (s *server) ListSecretVersions(ctx context.Context, r *secretmanagerpb.ListSecretVersionsRequest) (*secretmanagerpb.ListSecretVersionsResponse, error) {
	found, err := s.find(ctx, r.Parent)
	if err != nil {
		return nil, err
	}
	out := &secretmanagerpb.ListSecretVersionsResponse{}
	for number := len(found.versions); number > 0; number-- {
		if v := found.describe(number); r.Filter == "" || r.Filter == "state:"+v.State.String() {
			out.Versions = append(out.Versions, v)
		}
	}
	return out, nil
}

func (s *server) ListSecrets(ctx context.Context, r *secretmanagerpb.ListSecretsRequest) (*secretmanagerpb.ListSecretsResponse, error) {
	if err := s.authorize(ctx, ""); err != nil {
		return nil, err
	}
	var all []*secretmanagerpb.Secret
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		about := s.secrets[name].about
		ok, err := passes(about, r.Filter)
		if err != nil {
			return nil, err
		}
		if rest, below := strings.CutPrefix(name, r.Parent+"/secrets/"); ok && below && !strings.Contains(rest, "/") {
			all = append(all, about)
		}
	}
	start, _ := strconv.Atoi(r.PageToken) // none is the first page
	start = min(max(start, 0), len(all))
	end := len(all)
	if r.PageSize > 0 {
		end = min(end, start+int(min(r.PageSize, maxPage)))
	}
	out := &secretmanagerpb.ListSecretsResponse{Secrets: all[start:end], TotalSize: int32(len(all))}
	if end < len(all) {
		out.NextPageToken = strconv.Itoa(end)
	}
	return out, nil
}

// maxPage is how many secrets one answer has here: few, so that tests see
// more than one page.
const maxPage = 20

// passes reports whether a secret passes a filter: terms labels.KEY=VALUE
// joined by AND. It is the part of the grammar that the client uses.
func passes(about *secretmanagerpb.Secret, filter string) (bool, error) {
	if filter == "" {
		return true, nil
	}
	for term := range strings.SplitSeq(filter, " AND ") {
		key, value, ok := strings.Cut(term, "=")
		label, isLabel := strings.CutPrefix(key, "labels.")
		if !ok || !isLabel {
			return false, status.Errorf(codes.InvalidArgument, "Invalid filter %q.", term)
		}
		if got, has := about.Labels[label]; !has || got != value {
			return false, nil
		}
	}
	return true, nil
}
