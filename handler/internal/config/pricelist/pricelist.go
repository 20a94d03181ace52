// Package pricelist is a dated table of what Azure's models cost, from a public
// source: a beginning for the prices of a pool document. Nothing is charged by it.
package pricelist

import (
	_ "embed"
	"encoding/json"
)

//go:embed azure.json
var table []byte

// List is the table. Prices are entries for the pool document, by model.
type List struct {
	Source   string                     `json:"source"`
	Date     string                     `json:"date"`  // year and month of the source
	Offer    string                     `json:"offer"` // the kind of deployment that the prices are for
	Currency string                     `json:"currency"`
	Prices   map[string]json.RawMessage `json:"prices"`
}

// Azure returns the table.
func Azure() List {
	var l List
	if err := json.Unmarshal(table, &l); err != nil {
		panic("pricelist: " + err.Error())
	}
	return l
}
