"""What a fleet really needs. Everything here is pure: measurements and settings in, values out.

histogram    decaying histograms of usage
recommender  what a VM needs, as the vertical pod autoscaler would say it; update: whether a change is worth it
"""
