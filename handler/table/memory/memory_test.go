package memory_test

import (
	"testing"

	"spillway/handler/table"
	"spillway/handler/table/memory"
	"spillway/handler/table/tabletest"
)

func TestMemoryFulfilsTheContract(t *testing.T) {
	tabletest.Run(t, func(*testing.T) table.Store { return &memory.Store{} })
}
