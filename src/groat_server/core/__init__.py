"""The pure core: values in, values out. No input or output, no clock (time is a parameter), no framework."""
