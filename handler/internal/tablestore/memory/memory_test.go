package memory_test

import (
	"testing"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/tablestore/storetest"
)

func TestMemoryMeetsContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) tablestore.Store { return &memory.Store{} })
}
