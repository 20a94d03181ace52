package config

import "time"

// LoadForTable reads what the commands need that only use the table: where
// shared state is kept, and the backends, models and consumers of the document.
// It reads no secret but the connection of the table, and reports no fault of
// any other setting. The error, if any, is of type Faults.
func LoadForTable() (*Config, error) {
	in, err := environment()
	if err != nil {
		return nil, Faults{{Path: "the environment", Problem: err.Error(), Fix: "Correct it."}}
	}
	c := &checker{}
	cfg := &Config{Settings: c.tableSettings(&in)}
	if d := c.document(&in); d != nil {
		c.Check(d, cfg.Settings.Region)
		if len(c.Faults) == 0 {
			cfg.resolve(d, nil)
		}
	}
	c.Faults.Sort()
	return cfg, c.Faults.Err()
}

// LoadConnection reads only where shared state is kept.
func LoadConnection() (*Config, error) {
	in, err := environment()
	if err != nil {
		return nil, Faults{{Path: "the environment", Problem: err.Error(), Fix: "Correct it."}}
	}
	c := &checker{}
	cfg := &Config{Settings: c.tableSettings(&in)}
	return cfg, c.Faults.Err()
}

func (c *checker) tableSettings(in *inputs) Settings {
	return Settings{
		ConfigApp: c.configSource(&in.ours),
		Region:    in.platform.Region, Instance: in.platform.instance(), Standalone: in.platform.Port == "",
		State:        c.connection(in),
		StateTable:   c.pattern("SPILLWAY_STATE_TABLE", in.ours.StateTable, tablePattern),
		StateRefresh: c.duration("SPILLWAY_STATE_REFRESH", in.ours.StateRefresh, 50*time.Millisecond, time.Minute),
	}
}
