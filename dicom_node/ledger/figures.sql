-- What our own networks say in numbers, and what readers say instead, by name (JSON) in place of a
-- column each. A number that is absent has no name in it (RFC 7396). What declared bundles measured
-- keeps its unit, so that it can be read once they are gone.

alter table cases add column figures text not null default '{}';
update cases set figures = json_patch('{}', json_object(
    'geographic_extent', geographic_extent, 'opacity_extent', opacity_extent,
    'airspace_level', airspace_level));
alter table cases drop column geographic_extent;
alter table cases drop column opacity_extent;
alter table cases drop column airspace_level;

alter table feedback add column numbers text not null default '{}';
update feedback set numbers = json_patch('{}', json_object(
    'geographic_extent', geographic_extent, 'opacity_extent', opacity_extent,
    'airspace_level', airspace_level));
alter table feedback drop column geographic_extent;
alter table feedback drop column opacity_extent;
alter table feedback drop column airspace_level;

alter table observations add column unit text not null default '';
