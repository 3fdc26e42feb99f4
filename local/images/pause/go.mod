module crossover.dev/pause

go 1.21
