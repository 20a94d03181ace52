// Package pricelist is dated tables of what Azure's models cost, from a public
// source: a beginning for the prices of a pool document. Nothing is charged by them.
package pricelist

import (
	_ "embed"
	"encoding/json"
)

//go:embed azure.json
var global []byte

//go:embed datazone.json
var dataZone []byte

// List is a table. Prices are entries for the pool document, by model.
type List struct {
	Source   string                     `json:"source"`
	Date     string                     `json:"date"`  // year, and month if it is known, of the source
	Offer    string                     `json:"offer"` // the kind of deployment that the prices are for
	Currency string                     `json:"currency"`
	Prices   map[string]json.RawMessage `json:"prices"`
}

// Azure returns the table of deployments that are served anywhere.
func Azure() List { return read(global) }

// DataZone returns the table of those that are served within the EU or the US.
func DataZone() List { return read(dataZone) }

func read(table []byte) List {
	var l List
	if err := json.Unmarshal(table, &l); err != nil {
		panic("pricelist: " + err.Error())
	}
	return l
}
