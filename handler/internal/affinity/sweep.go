package affinity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"spillway/handler/internal/tablestore"
)

// Every hour with traffic one instance sweeps one of the 256 partitions, in
// slices: all rows are read once in eleven days, which costs next to nothing
// however many there are. Lookups ignore expired rows before they are swept.
const (
	sweepInterval = time.Hour
	partitions    = 256
	leaseKey      = "sweep" // in a partition of its own name
	colHour       = "hour"
)

func (s *Store) sweepHourly(ctx context.Context) {
	for sleep(ctx, sweepInterval) {
		if !s.traffic.Swap(false) {
			continue
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.OnError(fmt.Errorf("delete expired ids: %w", err))
		}
	}
}

// Sweep deletes the expired rows of this hour's partition, unless another
// instance does.
func (s *Store) Sweep(ctx context.Context) error {
	hour := s.cfg.Now().Unix() / int64(sweepInterval/time.Second)
	mine, err := s.acquireSweep(ctx, hour)
	if err != nil || !mine {
		return err
	}
	partition := fmt.Sprintf("%02x", hour%partitions)
	for slice := range 16 {
		from, to := fmt.Sprintf("%s%x", partition, slice), fmt.Sprintf("%s%x", partition, slice+1)
		if slice == 15 {
			to = partition + "g"
		}
		if err := s.sweepSlice(ctx, partition, from, to); err != nil {
			return err
		}
	}
	return nil
}

// acquireSweep takes the hour for this instance.
func (s *Store) acquireSweep(ctx context.Context, hour int64) (bool, error) {
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	r, _, err := s.cfg.Table.Get(bounded, leaseKey, leaseKey)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return false, err
	}
	if last, _ := strconv.ParseInt(r.Columns[colHour], 10, 64); last >= hour {
		return false, nil
	}
	_, _, err = s.cfg.Table.Put(bounded, tablestore.Row{
		Partition: leaseKey, Key: leaseKey, Version: r.Version, Columns: map[string]string{colHour: strconv.FormatInt(hour, 10)},
	})
	if errors.Is(err, tablestore.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) sweepSlice(ctx context.Context, partition, from, to string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	rows, _, err := s.cfg.Table.List(ctx, partition, from, to)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !expired(r, s.cfg.Now()) {
			continue
		}
		if _, err := s.cfg.Table.Delete(ctx, r); err != nil && !errors.Is(err, tablestore.ErrConflict) {
			return err
		}
	}
	return nil
}
