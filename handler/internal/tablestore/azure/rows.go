package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"spillway/handler/internal/tablestore"
)

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, key string) (row tablestore.Row, response tablestore.Response, err error) {
	err = s.withTable(ctx, func(ctx context.Context) error {
		var raw *http.Response
		res, err := s.client.GetEntity(policy.WithCaptureResponse(ctx, &raw), partition, key, nil)
		response = responseOf(raw)
		if err != nil {
			return err
		}
		row, err = decode(res.Value)
		row.Version = tablestore.Version(res.ETag)
		return err
	})
	return row, response, classifyError(err)
}

// Put inserts the row, or merges its columns at its version.
func (s *Store) Put(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	return s.put(ctx, row, aztables.UpdateModeMerge)
}

// Replace inserts or replaces at a version.
func (s *Store) Replace(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	return s.put(ctx, row, aztables.UpdateModeReplace)
}

func (s *Store) put(ctx context.Context, row tablestore.Row, mode aztables.UpdateMode) (version tablestore.Version, response tablestore.Response, err error) {
	entity, err := encode(row)
	if err != nil {
		return "", tablestore.Response{}, err
	}
	err = s.withTable(ctx, func(ctx context.Context) error {
		var raw *http.Response
		etag, err := s.swap(policy.WithCaptureResponse(ctx, &raw), entity, row.Version, mode)
		version, response = tablestore.Version(etag), responseOf(raw)
		return err
	})
	err = classifyError(err)
	if errors.Is(err, tablestore.ErrNotFound) {
		// The service returns 404, not 412, when the row to be swapped was deleted.
		err = fmt.Errorf("%w: the row was deleted", tablestore.ErrConflict)
	}
	return version, response, err
}

// swap always sets IfMatch: without it the SDK sends "*", and the last writer wins
// (docs/shared-state.md#what-the-table-does).
func (s *Store) swap(ctx context.Context, entity []byte, at tablestore.Version, mode aztables.UpdateMode) (azcore.ETag, error) {
	if at == "" {
		res, err := s.client.AddEntity(ctx, entity, nil)
		return res.ETag, err
	}
	etag := azcore.ETag(at)
	res, err := s.client.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: &etag, UpdateMode: mode})
	return res.ETag, err
}

// Upsert inserts or merges at any version.
func (s *Store) Upsert(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	entity, err := encode(row)
	if err != nil {
		return "", tablestore.Response{}, err
	}
	err = s.withTable(ctx, func(ctx context.Context) error {
		var raw *http.Response
		res, err := s.client.UpsertEntity(policy.WithCaptureResponse(ctx, &raw), entity, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge})
		version, response = tablestore.Version(res.ETag), responseOf(raw)
		return err
	})
	return version, response, classifyError(err)
}

// List reads rows in order of partition and key, page by page.
func (s *Store) List(ctx context.Context, partition, from, to string) (rows []tablestore.Row, response tablestore.Response, err error) {
	filter := filterOf(partition, from, to)
	err = s.withTable(ctx, func(ctx context.Context) error {
		rows = nil
		pager := s.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: filter, Top: s.pageSize})
		for pager.More() {
			var raw *http.Response
			page, err := pager.NextPage(policy.WithCaptureResponse(ctx, &raw))
			if err != nil {
				response = responseOf(raw)
				return err
			}
			if response.Date.IsZero() {
				response = responseOf(raw)
			}
			for _, entity := range page.Entities {
				row, err := decode(entity)
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
		}
		return nil
	})
	if err = classifyError(err); err != nil {
		return nil, response, err
	}
	return rows, response, nil
}

// Delete removes the row at its version; a row that does not exist is no error.
func (s *Store) Delete(ctx context.Context, row tablestore.Row) (response tablestore.Response, err error) {
	etag := azcore.ETag(row.Version)
	err = s.withTable(ctx, func(ctx context.Context) error {
		var raw *http.Response
		_, err := s.client.DeleteEntity(policy.WithCaptureResponse(ctx, &raw), row.Partition, row.Key, &aztables.DeleteEntityOptions{IfMatch: &etag})
		response = responseOf(raw)
		return err
	})
	err = classifyError(err)
	if errors.Is(err, tablestore.ErrNotFound) {
		err = nil
	}
	return response, err
}

// responseOf reads the service's clock, which the SDK does not expose.
func responseOf(raw *http.Response) tablestore.Response {
	if raw == nil {
		return tablestore.Response{}
	}
	var response tablestore.Response
	if date, err := http.ParseTime(raw.Header.Get("Date")); err == nil {
		response.Date = date
	}
	if seconds, err := strconv.Atoi(raw.Header.Get("Retry-After")); err == nil && seconds > 0 {
		response.RetryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return response
}

// filterOf is an OData filter; nil is none. Quotes are doubled: keys made from
// outside text must not end the literal (docs/security.md#paths-and-names).
func filterOf(partition, from, to string) *string {
	var parts []string
	for _, p := range []struct{ column, operator, value string }{
		{"PartitionKey", "eq", partition}, {"RowKey", "ge", from}, {"RowKey", "lt", to},
	} {
		if p.value != "" {
			parts = append(parts, p.column+" "+p.operator+" '"+strings.ReplaceAll(p.value, "'", "''")+"'")
		}
	}
	if len(parts) == 0 {
		return nil
	}
	filter := strings.Join(parts, " and ")
	return &filter
}
