"""The infrastructure half: what the Pulumi program is made of. It never imports the runtime half."""
