package azure

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"spillway/handler/internal/tablestore"
)

// What the service accepts (docs/shared-state.md#limits-and-cost); the emulator
// accepts more.
const (
	maxColumnLength = 32 * 1024 // UTF-16 units: 64 KiB
	maxColumns      = 252
	maxKeyLength    = 512 // UTF-16 units: 1 KiB
)

// encode returns the row as the SDK takes it. What the service would refuse is
// refused here, so that tests against the emulator see it too.
func encode(row tablestore.Row) ([]byte, error) {
	if fault := validateRow(row); fault != "" {
		return nil, fmt.Errorf("%w: row %q: %s", tablestore.ErrRefused, row.Key, fault)
	}
	entity := make(map[string]string, len(row.Columns)+2)
	for name, value := range row.Columns {
		entity[name] = value
	}
	entity["PartitionKey"], entity["RowKey"] = row.Partition, row.Key
	data, err := json.Marshal(entity)
	if err != nil {
		return nil, fmt.Errorf("encode row %q: %w", row.Key, err)
	}
	return data, nil
}

func validateRow(row tablestore.Row) string {
	if !validKey(row.Partition) || !validKey(row.Key) {
		return `a key is too long or has one of / \ # ? or a control character`
	}
	if len(row.Columns) > maxColumns {
		return fmt.Sprintf("%d columns, at most %d", len(row.Columns), maxColumns)
	}
	for name, value := range row.Columns {
		if len(value) > maxColumnLength && len(utf16.Encode([]rune(value))) > maxColumnLength {
			return fmt.Sprintf("column %q is over 64 KiB", name)
		}
	}
	return ""
}

func validKey(key string) bool {
	return len(key) <= maxKeyLength && !strings.ContainsFunc(key, func(r rune) bool {
		return strings.ContainsRune(`/\#?`, r) || r < 0x20 || r >= 0x7f && r < 0xa0
	})
}

// decode returns the row of an entity. Columns that are not strings were not
// written by this program and are left out.
func decode(entity []byte) (tablestore.Row, error) {
	var all map[string]any
	if err := json.Unmarshal(entity, &all); err != nil {
		return tablestore.Row{}, fmt.Errorf("%w: a response that is no entity: %w", tablestore.ErrUnknown, err)
	}
	row := tablestore.Row{Columns: make(map[string]string, len(all))}
	for name, value := range all {
		text, ok := value.(string)
		switch {
		case !ok, name == "Timestamp":
		case name == "PartitionKey":
			row.Partition = text
		case name == "RowKey":
			row.Key = text
		case name == "odata.etag":
			row.Version = tablestore.Version(text)
		case strings.Contains(name, "odata."):
		default:
			row.Columns[name] = text
		}
	}
	return row, nil
}
