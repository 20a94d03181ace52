package state

import (
	"context"
)

func (k *Keeper) stamp(context.Context) {}
