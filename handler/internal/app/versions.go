package app

import (
	"context"
	"errors"
	"fmt"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/configstore"
)

var _ admin.Versions = (*configSource)(nil)

// Problem is why the current version is not served; nil = it is.
func (s *configSource) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// History reads the versions that are kept.
func (s *configSource) History(ctx context.Context) (configstore.Version, []configstore.Version, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return configstore.Version{}, nil, err
	}
	all, err := s.store.History(ctx, &head)
	return head.Version, all, err
}

// Text reads a version as it was pushed.
func (s *configSource) Text(ctx context.Context, number int) (string, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return "", err
	}
	return s.text(ctx, &head, number)
}

func (s *configSource) text(ctx context.Context, head *configstore.Head, number int) (string, error) {
	v, err := s.store.Find(ctx, head, number)
	if err != nil {
		return "", err
	}
	if v.Document == "" {
		return string(s.setting.Document.Print()), nil
	}
	return s.store.Document(ctx, &v)
}

// Diff is what differs between two versions, whatever their faults are.
func (s *configSource) Diff(ctx context.Context, from, to int) ([]document.Change, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	var documents [2]*document.Document
	for i, number := range []int{from, to} {
		text, err := s.text(ctx, &head, number)
		if err != nil {
			return nil, err
		}
		documents[i] = new(document.Report).Read("", []byte(text))
		if documents[i] == nil {
			return nil, fmt.Errorf("%w: version %d is no pool document", configstore.ErrDamaged, number)
		}
	}
	return document.Diff(documents[0], documents[1]), nil
}

// Rollback makes an earlier version current, once this instance could build it.
func (s *configSource) Rollback(ctx context.Context, number int, who string) (configstore.Version, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return configstore.Version{}, err
	}
	v, err := s.store.Find(ctx, &head, number)
	if err != nil {
		return configstore.Version{}, err
	}
	if _, err := buildVersion(ctx, s.store, s.setting, &v); err != nil {
		if faults, ok := errors.AsType[config.Faults](err); ok {
			err = fmt.Errorf("%w: %w", admin.ErrUnusable, faults)
		}
		return configstore.Version{}, err
	}
	defer s.wake()
	return s.store.Rollback(ctx, &head, number, who)
}
