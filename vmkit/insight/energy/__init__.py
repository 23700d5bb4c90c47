"""What VMs take: joules that Kepler measured or a named model estimates, carbon by factors whose source is said.

factors    grams of CO2 for a kilowatt-hour, by country; sites with their PUE and WUE
providers  factors from Electricity Maps and WattTime, for those who have an account there
model      the power model for clusters without Kepler
kepler     Kepler's counters, in three generations, joined to VMs
account    what each VM took, and its carbon; pure
gather     from readings to accounts; pure
show       tables, CSV, a page
"""
